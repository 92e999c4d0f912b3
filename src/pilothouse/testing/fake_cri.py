"""A container runtime in memory: sandboxes and containers that exist, run and end as they are told, without a kernel.

`crash_at` stops the node between any two calls: the call of that number has its effect or not, and it and every later
one raise `Crash`, until `revive`.
"""

from __future__ import annotations

import asyncio
import itertools
import time
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from typing import Any, TypeVar

from google.protobuf.message import Message

from pilothouse.node import labels
from pilothouse.node.cri import Runtime, RuntimeFailure, RuntimeMissing
from pilothouse.node.runtime_events import Exited, RuntimeEvent
from pilothouse.node.wire import cri_pb2 as cri

M = TypeVar("M", bound=Message)


class Crash(BaseException):
    """The node's process ends here."""


@dataclass
class FakeSandbox:
    """A sandbox as CRI shows it."""

    id: str
    config: cri.PodSandboxConfig
    ip: str
    ready: bool = True
    created_at: int = field(default_factory=time.time_ns)


@dataclass
class FakeContainer:
    """A container; `status` is what CRI shows of it, `config` what it was made with."""

    id: str
    sandbox: str
    status: cri.ContainerStatus
    config: cri.ContainerConfig


class FakeRuntime(Runtime):
    """`Runtime`, answered from memory. What is in it outlives a node that crashes, as it does in containerd."""

    def __init__(self) -> None:
        super().__init__("")
        self.sandboxes: dict[str, FakeSandbox] = {}
        self.containers: dict[str, FakeContainer] = {}
        self.images: dict[str, cri.Image] = {}
        self.calls: list[str] = []
        """Names of the calls so far, in order."""
        self.crash_at: int | None = None
        self.crash_on = ""
        """Crashes at the first call of this name instead."""
        self.crash_after_effect = False
        self.ends: dict[str, int] = {}
        """Exit codes of containers that end as soon as they are started, by container name."""
        self.crashed = False
        self._numbers = itertools.count(1)
        self._listeners: list[asyncio.Queue[RuntimeEvent]] = []

    def revive(self) -> None:
        """Lets calls through again, as for a new node process."""
        self.crash_at, self.crash_on, self.crashed = None, "", False

    def add_image(self, name: str) -> None:
        """Puts an image there, as if it had been pulled."""
        image_id = f"sha256:{len(self.images):064x}"
        self.images[name] = self.images[image_id] = cri.Image(id=image_id, repo_tags=[name], size=1)

    def end(self, container_id: str, exit_code: int) -> None:
        """Has a container's process end."""
        status = self.containers[container_id].status
        status.state, status.exit_code, status.finished_at = cri.CONTAINER_EXITED, exit_code, time.time_ns()
        for listener in self._listeners:
            listener.put_nowait(Exited(container_id, exit_code, time.time()))

    def running(self) -> list[str]:
        """`pod/container` of everything that runs."""
        return sorted(
            f"{c.status.labels[labels.POD_NAME]}/{c.status.metadata.name}"
            for c in self.containers.values()
            if c.status.state == cri.CONTAINER_RUNNING
        )

    async def events(self) -> AsyncIterator[RuntimeEvent]:
        queue: asyncio.Queue[RuntimeEvent] = asyncio.Queue()
        self._listeners.append(queue)
        try:
            while True:
                yield await queue.get()
        finally:
            self._listeners.remove(queue)

    async def downloads(self) -> tuple[int, int]:
        return 0, 0

    async def close(self) -> None:
        self._listeners.clear()

    async def _call(self, method: str, request: Message, reply: type[M], timeout: float) -> M:
        name = method.rpartition("/")[2]
        await asyncio.sleep(0)
        if self.crashed:
            raise Crash(name)
        self.calls.append(name)
        self.crashed = self.crash_at == len(self.calls) or self.crash_on == name
        if self.crashed and not self.crash_after_effect:
            raise Crash(name)
        answer: Callable[[Any], Message] = getattr(self, f"_{name}")
        result = answer(request)
        if self.crashed:
            raise Crash(name)
        assert isinstance(result, reply)
        return result

    def _id(self) -> str:
        return f"{next(self._numbers):064x}"

    def _Version(self, request: cri.VersionRequest) -> cri.VersionResponse:
        return cri.VersionResponse(runtime_name="fake", runtime_version="v1")

    def _Status(self, request: cri.StatusRequest) -> cri.StatusResponse:
        kinds = ("RuntimeReady", "NetworkReady")
        conditions = [cri.RuntimeCondition(type=kind, status=True) for kind in kinds]
        return cri.StatusResponse(status=cri.RuntimeStatus(conditions=conditions))

    def _RunPodSandbox(self, request: cri.RunPodSandboxRequest) -> cri.RunPodSandboxResponse:
        wanted = request.config.metadata
        for sandbox in self.sandboxes.values():
            if sandbox.config.metadata == wanted:
                raise RuntimeFailure("RunPodSandbox", f'name is reserved for "{sandbox.id}"')
        made = FakeSandbox(self._id(), request.config, f"10.9.0.{len(self.sandboxes) + 2}")
        self.sandboxes[made.id] = made
        return cri.RunPodSandboxResponse(pod_sandbox_id=made.id)

    def _PodSandboxStatus(self, request: cri.PodSandboxStatusRequest) -> cri.PodSandboxStatusResponse:
        sandbox = self._sandbox(request.pod_sandbox_id)
        status = cri.PodSandboxStatus(
            id=sandbox.id, network=cri.PodSandboxNetworkStatus(ip=sandbox.ip), state=_state(sandbox)
        )
        return cri.PodSandboxStatusResponse(status=status)

    def _StopPodSandbox(self, request: cri.StopPodSandboxRequest) -> cri.StopPodSandboxResponse:
        sandbox = self._sandbox(request.pod_sandbox_id)
        sandbox.ready = False
        for container in self.containers.values():
            if container.sandbox == sandbox.id and container.status.state == cri.CONTAINER_RUNNING:
                self.end(container.id, 137)
        return cri.StopPodSandboxResponse()

    def _RemovePodSandbox(self, request: cri.RemovePodSandboxRequest) -> cri.RemovePodSandboxResponse:
        self._StopPodSandbox(cri.StopPodSandboxRequest(pod_sandbox_id=request.pod_sandbox_id))
        del self.sandboxes[request.pod_sandbox_id]
        for container in [c for c in self.containers.values() if c.sandbox == request.pod_sandbox_id]:
            del self.containers[container.id]
        return cri.RemovePodSandboxResponse()

    def _ListPodSandbox(self, request: cri.ListPodSandboxRequest) -> cri.ListPodSandboxResponse:
        items = [
            cri.PodSandbox(
                id=s.id,
                metadata=s.config.metadata,
                state=_state(s),
                created_at=s.created_at,
                labels=dict(s.config.labels),
            )
            for s in self.sandboxes.values()
        ]
        return cri.ListPodSandboxResponse(items=items)

    def _CreateContainer(self, request: cri.CreateContainerRequest) -> cri.CreateContainerResponse:
        sandbox, config = self._sandbox(request.pod_sandbox_id), request.config
        for other in self.containers.values():
            if other.sandbox == sandbox.id and other.status.metadata == config.metadata:
                raise RuntimeFailure("CreateContainer", f'name is reserved for "{other.id}"')
        made = self._id()
        status = cri.ContainerStatus(
            id=made,
            metadata=config.metadata,
            state=cri.CONTAINER_CREATED,
            created_at=time.time_ns(),
            image=config.image,
            labels=dict(config.labels),
            annotations=dict(config.annotations),
            log_path=f"{request.sandbox_config.log_directory}/{config.log_path}",
        )
        self.containers[made] = FakeContainer(made, sandbox.id, status, config)
        return cri.CreateContainerResponse(container_id=made)

    def _StartContainer(self, request: cri.StartContainerRequest) -> cri.StartContainerResponse:
        status = self._container(request.container_id).status
        status.state, status.started_at = cri.CONTAINER_RUNNING, time.time_ns()
        if status.metadata.name in self.ends:
            self.end(request.container_id, self.ends[status.metadata.name])
        return cri.StartContainerResponse()

    def _StopContainer(self, request: cri.StopContainerRequest) -> cri.StopContainerResponse:
        if self._container(request.container_id).status.state == cri.CONTAINER_RUNNING:
            self.end(request.container_id, 143)
        return cri.StopContainerResponse()

    def _RemoveContainer(self, request: cri.RemoveContainerRequest) -> cri.RemoveContainerResponse:
        self.containers.pop(request.container_id, None)
        return cri.RemoveContainerResponse()

    def _ListContainers(self, request: cri.ListContainersRequest) -> cri.ListContainersResponse:
        containers = [
            cri.Container(
                id=c.id,
                pod_sandbox_id=c.sandbox,
                metadata=c.status.metadata,
                state=c.status.state,
                created_at=c.status.created_at,
                labels=dict(c.status.labels),
                annotations=dict(c.status.annotations),
            )
            for c in self.containers.values()
        ]
        return cri.ListContainersResponse(containers=containers)

    def _ContainerStatus(self, request: cri.ContainerStatusRequest) -> cri.ContainerStatusResponse:
        return cri.ContainerStatusResponse(status=self._container(request.container_id).status)

    def _ExecSync(self, request: cri.ExecSyncRequest) -> cri.ExecSyncResponse:
        self._container(request.container_id)
        return cri.ExecSyncResponse()

    def _ImageStatus(self, request: cri.ImageStatusRequest) -> cri.ImageStatusResponse:
        return cri.ImageStatusResponse(image=self.images.get(request.image.image))

    def _ListImages(self, request: cri.ListImagesRequest) -> cri.ListImagesResponse:
        return cri.ListImagesResponse(images=list({image.id: image for image in self.images.values()}.values()))

    def _PullImage(self, request: cri.PullImageRequest) -> cri.PullImageResponse:
        raise RuntimeMissing("PullImage", f"{request.image.image}: not found")

    def _sandbox(self, sandbox_id: str) -> FakeSandbox:
        if sandbox_id not in self.sandboxes:
            raise RuntimeMissing("sandbox", f"sandbox {sandbox_id} not found")
        return self.sandboxes[sandbox_id]

    def _container(self, container_id: str) -> FakeContainer:
        if container_id not in self.containers:
            raise RuntimeMissing("container", f"container {container_id} not found")
        return self.containers[container_id]


def _state(sandbox: FakeSandbox) -> cri.PodSandboxState:
    return cri.SANDBOX_READY if sandbox.ready else cri.SANDBOX_NOTREADY
