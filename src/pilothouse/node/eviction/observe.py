"""Measuring: what the host has left, and what each pod uses. Runs in threads; nothing here decides."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from pilothouse.kinds.core.pod import Pod
from pilothouse.linux.usage import disk_usage, writable_layers
from pilothouse.machinery.quantity import to_bytes
from pilothouse.node.eviction.rank import ContainerUse, PodUse, Space
from pilothouse.node.eviction.signals import (
    ALLOCATABLE_MEMORY,
    IMAGEFS,
    IMAGEFS_INODES,
    MEMORY,
    NODEFS,
    NODEFS_INODES,
    PIDS,
    Observation,
)
from pilothouse.node.resources import cgroup_parent, pod_requests
from pilothouse.node.runtime_config import log_directory
from pilothouse.node.state import PodState
from pilothouse.node.static.mirrors import is_static
from pilothouse.node.stats.groups import GroupReader, host_usage
from pilothouse.node.volumes.layout import Layout


@dataclass(frozen=True, slots=True)
class Subject:
    """A pod as measuring needs it, taken in the event loop, where its state belongs."""

    uid: str
    pod: Pod
    containers: tuple[tuple[str, str], ...]
    """Name and id of each that runs."""


def subject_of(state: PodState) -> Subject | None:
    """None for a pod that uses nothing."""
    if state.pod is None or state.sandbox is None or state.torn_down:
        return None
    running = tuple((run.name, run.id) for run in state.containers.values() if run.running)
    return Subject(state.uid, state.pod, running)


class Observer:
    """Reads the host and the pods of one node."""

    def __init__(self, layout: Layout, cgroup_root: str, images: Path, memory_limit: int) -> None:
        self._layout = layout
        self._cgroup_root = cgroup_root
        self._images = images
        self._memory_limit = memory_limit
        """What all pods together may use, 0 for anything."""
        self._groups = GroupReader()

    @property
    def separate_images(self) -> bool:
        """Whether images lie on a file system of their own."""
        try:
            return os.stat(self._images).st_dev != os.stat(self._layout.root).st_dev
        except OSError:
            return False

    def host(self) -> dict[str, Observation]:
        """What is left of everything. Raises OSError."""
        memory = host_usage()
        available = memory.available_bytes or 0
        found = {MEMORY: Observation(available + memory.working_set_bytes, available), PIDS: _processes()}
        images = self._images if self._images.exists() else self._layout.root
        for place, space, inodes in ((self._layout.root, NODEFS, NODEFS_INODES), (images, IMAGEFS, IMAGEFS_INODES)):
            disk = os.statvfs(place)
            found[space] = Observation(disk.f_blocks * disk.f_frsize, disk.f_bavail * disk.f_frsize)
            if disk.f_files:
                found[inodes] = Observation(disk.f_files, disk.f_favail)
        if self._memory_limit and (usage := self._groups.read(self._cgroup_root)) is not None:
            left = max(0, self._memory_limit - usage.working_set_bytes)
            found[ALLOCATABLE_MEMORY] = Observation(self._memory_limit, left)
        return found

    def use(self, subjects: list[Subject], *, disk: bool) -> list[PodUse]:
        """What each pod uses; of the disk only when asked, as that takes a walk through all its files."""
        layers = _layers_by_container() if disk else {}
        return [self._pod(subject, layers, disk=disk) for subject in subjects]

    def _pod(self, subject: Subject, layers: Mapping[str, str], *, disk: bool) -> PodUse:
        pod, group = subject.pod, cgroup_parent(self._cgroup_root, subject.pod)
        usage = self._groups.read(group)
        containers = tuple(self._container(subject, name, key, group, layers, disk) for name, key in subject.containers)
        volumes = Space()
        if disk:
            for used in self.volumes(subject).values():
                volumes += used
        requests = pod_requests(pod)
        return PodUse(
            uid=subject.uid,
            name=pod.key,
            priority=pod.spec.priority or 0,
            mirror=is_static(pod),
            memory=usage.working_set_bytes if usage is not None else 0,
            processes=self._groups.processes(group),
            volumes=volumes,
            containers=containers,
            requests={name: int(requests.get(name, 0)) for name in ("memory", "ephemeral-storage")},
        )

    def _container(
        self, subject: Subject, name: str, key: str, group: str, layers: Mapping[str, str], disk: bool
    ) -> ContainerUse:
        usage = self._groups.read(f"{group}/{key}")
        logs = writable = Space()
        if disk:
            meta = subject.pod.metadata
            directory = log_directory(str(self._layout.logs), meta.namespace, meta.name, subject.uid)
            logs = Space(*disk_usage(f"{directory}/{name}"))
            if key in layers:
                writable = Space(*disk_usage(layers[key]))
        asked = _requests(subject.pod, name)
        return ContainerUse(
            name,
            usage.working_set_bytes if usage is not None else 0,
            writable,
            logs,
            to_bytes(asked.get("memory", "0")),
            to_bytes(asked.get("ephemeral-storage", "0")),
        )

    def volumes(self, subject: Subject) -> dict[str, Space]:
        """What each volume takes that lies with the pod itself, those in memory too (they count for their limit)."""
        found = {}
        for volume in subject.pod.spec.volumes:
            if volume.empty_dir is not None or volume.config_map is not None or volume.downward_api is not None:
                in_memory = volume.empty_dir is not None and volume.empty_dir.in_memory
                if not in_memory:
                    found[volume.name] = Space(*disk_usage(self._layout.volume(subject.uid, volume.name)))
        return found


def _requests(pod: Pod, name: str) -> Mapping[str, str]:
    for container in [*pod.spec.containers, *pod.spec.init_containers]:
        if container.name == name and container.resources is not None:
            return container.resources.requests
    return {}


def _layers_by_container() -> dict[str, str]:
    """containerd mounts a container's root file system in a directory named by its id."""
    return {Path(point).parent.name: upper for point, upper in writable_layers().items()}


def _processes() -> Observation:
    threads = int(Path("/proc/loadavg").read_text().split()[3].partition("/")[2])
    most = min(int(Path(f"/proc/sys/kernel/{name}").read_text()) for name in ("pid_max", "threads-max"))
    return Observation(most, max(0, most - threads))
