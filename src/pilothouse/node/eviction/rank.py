"""Whom to evict first, and what to tell them. Pure; order and words are upstream's (`eviction/helpers.go`)."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from pilothouse.machinery.quantity import Format, Quantity
from pilothouse.node.eviction.signals import (
    ALLOCATABLE_MEMORY,
    IMAGEFS,
    IMAGEFS_INODES,
    MEMORY,
    NODEFS,
    NODEFS_INODES,
    PIDS,
    RESOURCES,
    Observation,
    Threshold,
)

_BYTES = ("memory", "ephemeral-storage")
SYSTEM_CRITICAL = 2_000_000_000


@dataclass(frozen=True, slots=True)
class Space:
    """What something takes on a file system."""

    bytes: int = 0
    inodes: int = 0

    def __add__(self, other: Space) -> Space:
        return Space(self.bytes + other.bytes, self.inodes + other.inodes)


@dataclass(frozen=True, slots=True)
class ContainerUse:
    """What one container uses and what it asked for, in bytes."""

    name: str
    memory: int = 0
    writable: Space = Space()
    """Its own layer over the image."""
    logs: Space = Space()
    memory_request: int = 0
    storage_request: int = 0


@dataclass(frozen=True, slots=True)
class PodUse:
    """What a pod uses. `requests` has `memory` and `ephemeral-storage` in bytes."""

    uid: str
    name: str
    priority: int = 0
    mirror: bool = False
    """A static pod's: it is not evicted."""
    memory: int = 0
    processes: int = 0
    volumes: Space = Space()
    """emptyDir volumes on disk and files made from ConfigMaps and the like."""
    containers: tuple[ContainerUse, ...] = ()
    requests: Mapping[str, int] = field(default_factory=dict)


def candidates(signal: str, pods: Iterable[PodUse], *, separate_images: bool) -> list[PodUse]:
    """The pods that may be evicted for a shortage, the first to go first.

    `separate_images` says that images, and with them the containers' own layers, lie on a file system of their own.
    """
    able = [pod for pod in pods if not pod.mirror and pod.priority < SYSTEM_CRITICAL]

    def order(pod: PodUse) -> tuple[bool, int, int]:
        if signal in (MEMORY, ALLOCATABLE_MEMORY):
            used, asked = pod.memory, pod.requests.get("memory", 0)
        elif signal == PIDS:
            return False, pod.priority, -pod.processes
        else:
            space = space_of(pod, signal, separate_images=separate_images)
            used, asked = space.bytes, pod.requests.get("ephemeral-storage", 0)
            if signal in (NODEFS_INODES, IMAGEFS_INODES):
                used, asked = space.inodes, 0
        return used <= asked, pod.priority, asked - used

    return sorted(able, key=order)


def space_of(pod: PodUse, signal: str, *, separate_images: bool) -> Space:
    """What a pod takes on the file system a signal is about."""
    total = Space()
    if not separate_images or signal in (IMAGEFS, IMAGEFS_INODES):
        for container in pod.containers:
            total += container.writable
    if not separate_images or signal in (NODEFS, NODEFS_INODES):
        total += pod.volumes
        for container in pod.containers:
            total += container.logs
    return total


def message(threshold: Threshold, pod: PodUse, observed: Observation | None) -> str:
    """Why a pod was evicted, in upstream's words."""
    resource = RESOURCES[threshold.signal]
    text = f"The node was low on resource: {resource}. "
    if observed is not None:
        least = threshold.least.of(observed.capacity)
        text += f"Threshold quantity: {_amount(least, resource)}, available: {_kibi(observed.available, resource)}. "
    for container in pod.containers:
        if resource == "memory":
            used, asked = container.memory, container.memory_request
        elif resource == "ephemeral-storage":
            used, asked = container.writable.bytes + container.logs.bytes, container.storage_request
        else:
            continue
        if used > asked:
            text += (
                f"Container {container.name} was using {_kibi(used, resource)}, request is {_amount(asked, resource)}, "
                f"has larger consumption of {resource}. "
            )
    return text


def _amount(number: int, resource: str) -> str:
    form = Format.BINARY_SI if resource in _BYTES else Format.DECIMAL_SI
    return str(Quantity.parse(number)._replace(format=form))


def _kibi(number: int, resource: str) -> str:
    """Bytes in whole Ki, as upstream's statistics give them."""
    return f"{number // 1024}Ki" if resource in _BYTES else str(number)
