"""GET /stats/summary, /metrics/resource and /metrics/cadvisor."""

from __future__ import annotations

import os
import time
from pathlib import Path

import orjson
from aiohttp import web

from pilothouse.node.api.lookup import PodLookup
from pilothouse.node.resources import cgroup_parent
from pilothouse.node.state import PodState
from pilothouse.node.stats.exposition import cadvisor_metrics, resource_metrics
from pilothouse.node.stats.groups import GroupReader, host_usage
from pilothouse.node.stats.network import read_interfaces
from pilothouse.node.stats.sampler import HOST, Sample, Sampler
from pilothouse.node.stats.summary import ContainerGroup, FileSystem, PodGroup, summary

EXPOSITION = "text/plain; version=0.0.4"


class Statistics:
    """Measures this node's pods when asked; `directory` lies on the file system that holds containers."""

    def __init__(self, pods: PodLookup, node_name: str, cgroup_root: str, directory: Path) -> None:
        self._pods = pods
        self._node_name = node_name
        self._cgroup_root = cgroup_root
        self._directory = directory
        self._groups = GroupReader()
        self._chosen: list[PodGroup] = []
        self._sampler = Sampler(self._read)

    async def summary(self, request: web.Request) -> web.Response:
        self._choose()
        sample, measured = await self._sampler.measure()
        tree = summary(
            self._node_name, _boot_time(), self._chosen, measured, sample.interfaces, _file_system(self._directory)
        )
        return web.Response(body=orjson.dumps(tree), content_type="application/json")

    async def resource(self, request: web.Request) -> web.Response:
        self._choose()
        _, measured = await self._sampler.measure()
        text = resource_metrics(self._chosen, measured)
        return web.Response(body=text.encode(), headers={"Content-Type": EXPOSITION})

    async def cadvisor(self, request: web.Request) -> web.Response:
        self._choose()
        sample, measured = await self._sampler.measure()
        text = cadvisor_metrics(self._chosen, measured, sample.interfaces)
        return web.Response(body=text.encode(), headers={"Content-Type": EXPOSITION})

    def _choose(self) -> None:
        """Notes which groups to read, in the event loop, where the pods' state belongs."""
        self._chosen = [group for state in self._pods if (group := pod_group(state, self._cgroup_root)) is not None]

    def _read(self) -> Sample:
        """Runs in a thread."""
        usage, interfaces = {HOST: host_usage()}, {HOST: read_interfaces(None)}
        for pod in self._chosen:
            for path in (pod.path, *(container.path for container in pod.containers)):
                if (found := self._groups.read(path)) is not None:
                    usage[path] = found
            if not pod.host_network and (pid := self._groups.first_process(pod.sandbox_path)) is not None:
                interfaces[pod.path] = read_interfaces(pid)
        return Sample(time.time(), usage, interfaces)


def pod_group(state: PodState, root: str) -> PodGroup | None:
    """The groups of a pod; None for one without a sandbox or whose specification is not known."""
    if state.pod is None or state.sandbox is None or not state.sandbox.ready:
        return None
    path = cgroup_parent(root, state.pod)
    return PodGroup(
        namespace=state.namespace,
        name=state.name,
        uid=state.uid,
        path=path,
        sandbox_path=f"{path}/{state.sandbox.id}",
        host_network=state.host_network,
        started_at=state.started_at or state.sandbox.created_at,
        containers=[
            ContainerGroup(
                container.name, f"{path}/{container.id}", container.started_at, container.image, container.id
            )
            for container in state.containers.values()
            if container.running
        ],
    )


def _boot_time() -> float:
    with open("/proc/stat") as file:
        return next((float(line.split()[1]) for line in file if line.startswith("btime ")), 0.0)


def _file_system(directory: Path) -> FileSystem:
    found = os.statvfs(directory)
    return FileSystem(found.f_blocks * found.f_frsize, found.f_bavail * found.f_frsize, found.f_files, found.f_favail)
