"""The container runtime over CRI: a method a call, each with a deadline; errors are told apart by what can be done."""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator
from typing import Any, TypeVar

import grpc
import grpc.aio
import orjson
from google.protobuf.message import Message

from pilothouse.node.images.progress import downloads
from pilothouse.node.runtime_errors import RuntimeAway, RuntimeFailure, RuntimeMissing, RuntimeTimeout, failure
from pilothouse.node.runtime_events import RuntimeEvent, subscribe
from pilothouse.node.wire import cri_pb2 as cri

__all__ = [
    "Runtime",
    "RuntimeAway",
    "RuntimeFailure",
    "RuntimeMissing",
    "RuntimeTimeout",
    "failure",
    "open_channel",
]

log = logging.getLogger(__name__)

M = TypeVar("M", bound=Message)

_RUNTIME = "/runtime.v1.RuntimeService/"
_IMAGE = "/runtime.v1.ImageService/"
_MESSAGE_LIMIT = 64 << 20
_OPTIONS = (
    ("grpc.max_receive_message_length", _MESSAGE_LIMIT),
    ("grpc.max_send_message_length", _MESSAGE_LIMIT),
    # containerd answers 0.14 s after it is started again: do not wait for longer than it takes.
    ("grpc.initial_reconnect_backoff_ms", 100),
    ("grpc.min_reconnect_backoff_ms", 100),
    ("grpc.max_reconnect_backoff_ms", 1000),
    ("grpc.enable_retries", 0),
    ("grpc.use_local_subchannel_pool", 1),
)

SHORT = 30.0
"""Seconds for calls that only look."""
LONG = 240.0
"""Seconds for calls that make or remove things (upstream's runtime request time-out is two minutes)."""


def open_channel(socket: str) -> grpc.aio.Channel:
    """A channel to a unix socket; it reconnects by itself after the runtime was away."""
    return grpc.aio.insecure_channel(f"unix://{socket}", options=_OPTIONS)


class Runtime:
    """CRI v1 at a unix socket. Every method raises RuntimeFailure or one of its kinds."""

    def __init__(self, socket: str) -> None:
        self.socket = socket
        self._channel: grpc.aio.Channel | None = None
        self._methods: dict[str, Any] = {}

    @property
    def channel(self) -> grpc.aio.Channel:
        """The channel, opened at first use so that it belongs to the running loop."""
        if self._channel is None:
            self._channel = open_channel(self.socket)
        return self._channel

    async def close(self) -> None:
        if self._channel is not None:
            await self._channel.close()
            self._channel = None
            self._methods.clear()

    async def _call(self, method: str, request: Message, reply: type[M], timeout: float) -> M:
        call = self._methods.get(method)
        if call is None:
            call = self._methods[method] = self.channel.unary_unary(
                method, request_serializer=type(request).SerializeToString, response_deserializer=reply.FromString
            )
        try:
            result: M = await call(request, timeout=timeout)
            return result
        except grpc.aio.AioRpcError as error:
            raise failure(method.rpartition("/")[2], error) from None

    def events(self) -> AsyncIterator[RuntimeEvent]:
        """What happens from now on; ends with RuntimeFailure. This is containerd's own interface, not CRI's."""
        return subscribe(self.channel)

    async def downloads(self) -> tuple[int, int]:
        """Bytes received and bytes expected of all downloads under way; containerd's own interface too."""
        return await downloads(self.channel)

    async def version(self, timeout: float = 5.0) -> cri.VersionResponse:
        return await self._call(_RUNTIME + "Version", cri.VersionRequest(), cri.VersionResponse, timeout)

    async def status(self) -> cri.StatusResponse:
        return await self._call(_RUNTIME + "Status", cri.StatusRequest(), cri.StatusResponse, SHORT)

    async def run_sandbox(self, config: cri.PodSandboxConfig, handler: str = "") -> str:
        request = cri.RunPodSandboxRequest(config=config, runtime_handler=handler)
        reply = await self._call(_RUNTIME + "RunPodSandbox", request, cri.RunPodSandboxResponse, LONG)
        return reply.pod_sandbox_id

    async def stop_sandbox(self, sandbox_id: str) -> None:
        request = cri.StopPodSandboxRequest(pod_sandbox_id=sandbox_id)
        await self._call(_RUNTIME + "StopPodSandbox", request, cri.StopPodSandboxResponse, LONG)

    async def remove_sandbox(self, sandbox_id: str) -> None:
        request = cri.RemovePodSandboxRequest(pod_sandbox_id=sandbox_id)
        await self._call(_RUNTIME + "RemovePodSandbox", request, cri.RemovePodSandboxResponse, LONG)

    async def sandbox_status(self, sandbox_id: str) -> tuple[cri.PodSandboxStatus, str]:
        """The status, and the path of the network namespace (empty for the host's)."""
        request = cri.PodSandboxStatusRequest(pod_sandbox_id=sandbox_id, verbose=True)
        reply = await self._call(_RUNTIME + "PodSandboxStatus", request, cri.PodSandboxStatusResponse, SHORT)
        return reply.status, _netns(reply.info.get("info", ""))

    async def list_sandboxes(self) -> list[cri.PodSandbox]:
        request = cri.ListPodSandboxRequest()
        reply = await self._call(_RUNTIME + "ListPodSandbox", request, cri.ListPodSandboxResponse, SHORT)
        return list(reply.items)

    async def create_container(
        self, sandbox_id: str, config: cri.ContainerConfig, sandbox: cri.PodSandboxConfig
    ) -> str:
        request = cri.CreateContainerRequest(pod_sandbox_id=sandbox_id, config=config, sandbox_config=sandbox)
        reply = await self._call(_RUNTIME + "CreateContainer", request, cri.CreateContainerResponse, LONG)
        return reply.container_id

    async def start_container(self, container_id: str) -> None:
        request = cri.StartContainerRequest(container_id=container_id)
        await self._call(_RUNTIME + "StartContainer", request, cri.StartContainerResponse, LONG)

    async def stop_container(self, container_id: str, grace: float) -> None:
        """Sends the stop signal and, `grace` seconds later, SIGKILL. Returns when it is over."""
        request = cri.StopContainerRequest(container_id=container_id, timeout=int(grace))
        await self._call(_RUNTIME + "StopContainer", request, cri.StopContainerResponse, grace + LONG)

    async def update_resources(self, container_id: str, resources: cri.LinuxContainerResources) -> None:
        """Other limits for a running container."""
        request = cri.UpdateContainerResourcesRequest(container_id=container_id, linux=resources)
        method = _RUNTIME + "UpdateContainerResources"
        await self._call(method, request, cri.UpdateContainerResourcesResponse, LONG)

    async def remove_container(self, container_id: str) -> None:
        request = cri.RemoveContainerRequest(container_id=container_id)
        await self._call(_RUNTIME + "RemoveContainer", request, cri.RemoveContainerResponse, LONG)

    async def list_containers(self) -> list[cri.Container]:
        request = cri.ListContainersRequest()
        reply = await self._call(_RUNTIME + "ListContainers", request, cri.ListContainersResponse, SHORT)
        return list(reply.containers)

    async def container_status(self, container_id: str) -> cri.ContainerStatus:
        request = cri.ContainerStatusRequest(container_id=container_id)
        reply = await self._call(_RUNTIME + "ContainerStatus", request, cri.ContainerStatusResponse, SHORT)
        return reply.status

    async def reopen_log(self, container_id: str) -> None:
        """Has the container's log written to a new file after the old one was renamed."""
        request = cri.ReopenContainerLogRequest(container_id=container_id)
        await self._call(_RUNTIME + "ReopenContainerLog", request, cri.ReopenContainerLogResponse, SHORT)

    async def exec_sync(self, container_id: str, command: list[str], timeout: float) -> tuple[int, bytes]:
        """Exit code, and standard output followed by standard error. Raises RuntimeTimeout past `timeout` seconds."""
        request = cri.ExecSyncRequest(container_id=container_id, cmd=command, timeout=max(1, int(timeout)))
        reply = await self._call(_RUNTIME + "ExecSync", request, cri.ExecSyncResponse, timeout + 2.0)
        return reply.exit_code, reply.stdout + reply.stderr

    async def image_status(self, reference: str) -> tuple[cri.Image | None, dict[str, str]]:
        """The image of that name or id, None when it is not there."""
        request = cri.ImageStatusRequest(image=cri.ImageSpec(image=reference))
        reply = await self._call(_IMAGE + "ImageStatus", request, cri.ImageStatusResponse, SHORT)
        return (reply.image if reply.HasField("image") else None), dict(reply.info)

    async def chain_id(self, image_id: str) -> str:
        """The name of an image's unpacked layers. Raises RuntimeFailure, as for a runtime that does not tell."""
        request = cri.ImageStatusRequest(image=cri.ImageSpec(image=image_id), verbose=True)
        reply = await self._call(_IMAGE + "ImageStatus", request, cri.ImageStatusResponse, SHORT)
        found = orjson.loads(reply.info.get("info", "{}")).get("chainID")
        if not isinstance(found, str) or not found:
            raise RuntimeFailure("ImageStatus", f"the runtime does not say where image {image_id} is unpacked")
        return found

    async def list_images(self) -> list[cri.Image]:
        reply = await self._call(_IMAGE + "ListImages", cri.ListImagesRequest(), cri.ListImagesResponse, SHORT)
        return list(reply.images)

    async def pull_image(self, reference: str, auth: cri.AuthConfig | None, timeout: float) -> str:
        request = cri.PullImageRequest(image=cri.ImageSpec(image=reference), auth=auth)
        reply = await self._call(_IMAGE + "PullImage", request, cri.PullImageResponse, timeout)
        return reply.image_ref

    async def remove_image(self, reference: str) -> None:
        request = cri.RemoveImageRequest(image=cri.ImageSpec(image=reference))
        await self._call(_IMAGE + "RemoveImage", request, cri.RemoveImageResponse, LONG)

    async def image_filesystem(self) -> tuple[str, int]:
        """The directory images are kept in, and the bytes they use."""
        reply = await self._call(_IMAGE + "ImageFsInfo", cri.ImageFsInfoRequest(), cri.ImageFsInfoResponse, SHORT)
        for filesystem in reply.image_filesystems:
            return filesystem.fs_id.mountpoint, filesystem.used_bytes.value
        return "", 0


def _netns(info: str) -> str:
    if not info:
        return ""
    spec = orjson.loads(info).get("runtimeSpec") or {}
    for namespace in (spec.get("linux") or {}).get("namespaces") or ():
        if namespace.get("type") == "network":
            return str(namespace.get("path", ""))
    return ""
