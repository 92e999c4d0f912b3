"""The runtime's calls that streams need: containerd's Tasks service, and what CRI has no other user for.

Processes are added to running containers through Tasks, with FIFOs as their standard streams: CRI's own Exec leads to a
stream server that has no way, over WebSocket, to tell a process that its input has ended.
"""

from __future__ import annotations

from typing import Any, TypeVar

import grpc.aio
import orjson
from google.protobuf.any_pb2 import Any as AnyMessage
from google.protobuf.empty_pb2 import Empty
from google.protobuf.message import Message

from pilothouse.machinery.objects import Obj
from pilothouse.node.cri import RuntimeFailure, RuntimeMissing, failure
from pilothouse.node.wire import cri_pb2 as cri
from pilothouse.node.wire import tasks_pb2 as wire

M = TypeVar("M", bound=Message)

_SERVICE = "/containerd.services.tasks.v1.Tasks/"
_NAMESPACE = (("containerd-namespace", "k8s.io"),)
_PROCESS = "types.containerd.io/opencontainers/runtime-spec/1/Process"
_CRI = "/runtime.v1.RuntimeService/"
_SECONDS = 60.0


class Tasks:
    """Every method raises RuntimeFailure or one of its kinds. An empty `exec_id` means a container's first process."""

    def __init__(self, channel: grpc.aio.Channel) -> None:
        self._channel = channel

    async def _call(self, method: str, request: Message, reply: type[M], timeout: float | None = _SECONDS) -> M:
        call: Any = self._channel.unary_unary(
            method, request_serializer=type(request).SerializeToString, response_deserializer=reply.FromString
        )
        try:
            result: M = await call(request, timeout=timeout, metadata=_NAMESPACE)
            return result
        except grpc.aio.AioRpcError as error:
            raise failure(method.rpartition("/")[2], error) from None

    async def process_spec(self, container_id: str) -> Obj:
        """The OCI process that the container was made with: user, environment, capabilities, limits."""
        request = cri.ContainerStatusRequest(container_id=container_id, verbose=True)
        reply = await self._call(_CRI + "ContainerStatus", request, cri.ContainerStatusResponse)
        spec = orjson.loads(reply.info.get("info", "{}")).get("runtimeSpec") or {}
        process = spec.get("process")
        if not isinstance(process, dict):
            raise RuntimeFailure("ContainerStatus", f"container {container_id} has no process specification")
        return process

    async def exec(
        self, container_id: str, exec_id: str, process: Obj, *, stdin: str, stdout: str, stderr: str, terminal: bool
    ) -> None:
        """Prepares a process; the paths are FIFOs, or empty for none."""
        spec = AnyMessage(type_url=_PROCESS, value=orjson.dumps(process))
        request = wire.ExecProcessRequest(
            container_id=container_id,
            exec_id=exec_id,
            stdin=stdin,
            stdout=stdout,
            stderr=stderr,
            terminal=terminal,
            spec=spec,
        )
        await self._call(_SERVICE + "Exec", request, Empty)

    async def start(self, container_id: str, exec_id: str) -> int:
        """Starts a prepared process; the host's number of it."""
        request = wire.StartRequest(container_id=container_id, exec_id=exec_id)
        return (await self._call(_SERVICE + "Start", request, wire.StartResponse)).pid

    async def wait(self, container_id: str, exec_id: str = "") -> int:
        """The exit code, once the process has ended."""
        request = wire.WaitRequest(container_id=container_id, exec_id=exec_id)
        return (await self._call(_SERVICE + "Wait", request, wire.WaitResponse, None)).exit_status

    async def close_stdin(self, container_id: str, exec_id: str) -> None:
        request = wire.CloseIORequest(container_id=container_id, exec_id=exec_id, stdin=True)
        await self._call(_SERVICE + "CloseIO", request, Empty)

    async def resize(self, container_id: str, exec_id: str, width: int, height: int) -> None:
        request = wire.ResizePtyRequest(container_id=container_id, exec_id=exec_id, width=width, height=height)
        await self._call(_SERVICE + "ResizePty", request, Empty)

    async def kill(self, container_id: str, exec_id: str, signal: int) -> None:
        """Nothing happens when the process has ended already."""
        request = wire.KillRequest(container_id=container_id, exec_id=exec_id, signal=signal)
        try:
            await self._call(_SERVICE + "Kill", request, Empty)
        except RuntimeMissing:
            return

    async def delete(self, container_id: str, exec_id: str) -> None:
        """Forgets a process that has ended. Nothing happens when it is not known."""
        request = wire.DeleteProcessRequest(container_id=container_id, exec_id=exec_id)
        try:
            await self._call(_SERVICE + "DeleteProcess", request, wire.DeleteResponse)
        except RuntimeMissing:
            return

    async def reopen_log(self, container_id: str) -> None:
        """Has the runtime write to a new file at the container's log path."""
        request = cri.ReopenContainerLogRequest(container_id=container_id)
        await self._call(_CRI + "ReopenContainerLog", request, Empty)

    async def container_io(self, container_id: str) -> tuple[bool, bool]:
        """Whether the container was made with standard input, and with a terminal."""
        request = cri.ContainerStatusRequest(container_id=container_id, verbose=True)
        reply = await self._call(_CRI + "ContainerStatus", request, cri.ContainerStatusResponse)
        config = orjson.loads(reply.info.get("info", "{}")).get("config") or {}
        return bool(config.get("stdin")), bool(config.get("tty"))

    async def attach_url(self, container_id: str, *, stdin: bool, stdout: bool, stderr: bool, terminal: bool) -> str:
        """Where the runtime's stream server serves the first process's streams, once."""
        request = cri.AttachRequest(container_id=container_id, stdin=stdin, stdout=stdout, stderr=stderr, tty=terminal)
        return (await self._call(_CRI + "Attach", request, cri.AttachResponse)).url
