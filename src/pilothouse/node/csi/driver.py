"""One CSI driver at its socket. Source: the Container Storage Interface, version 1, Node service."""

from __future__ import annotations

from typing import Any, TypeVar

import grpc
import grpc.aio
from google.protobuf.message import Message

from pilothouse.node.volumes.payload import VolumeError
from pilothouse.node.wire import csi_pb2 as wire

M = TypeVar("M", bound=Message)

SECONDS = 120.0
"""How long a driver may take for one call; upstream's figure."""
_UNSURE = frozenset(
    {
        grpc.StatusCode.CANCELLED,
        grpc.StatusCode.DEADLINE_EXCEEDED,
        grpc.StatusCode.UNAVAILABLE,
        grpc.StatusCode.RESOURCE_EXHAUSTED,
        grpc.StatusCode.ABORTED,
    }
)
"""Codes after which the driver may still be at work, or have done it. Source: the specification's error scheme."""
_OPTIONS = (("grpc.max_reconnect_backoff_ms", 5000), ("grpc.enable_retries", 0))


class DriverError(VolumeError):
    """What a driver answered instead of doing what it was asked; `sure` when it has certainly not done it."""

    def __init__(self, message: str, *, sure: bool) -> None:
        super().__init__(message)
        self.sure = sure


class Driver:
    """A driver as it registered: `node_id` is the name it knows this node by."""

    def __init__(self, name: str, endpoint: str) -> None:
        self.name = name
        self.endpoint = endpoint
        self._channel = grpc.aio.insecure_channel(f"unix://{endpoint}", options=_OPTIONS)
        self._abilities: frozenset[int] | None = None

    async def call(self, method: str, request: Message, reply: type[M], seconds: float = SECONDS) -> M:
        """Calls a method of the Node service. Raises DriverError with the code and the driver's words."""
        call: Any = self._channel.unary_unary(
            f"/csi.v1.Node/{method}",
            request_serializer=type(request).SerializeToString,
            response_deserializer=reply.FromString,
        )
        try:
            result: M = await call(request, timeout=seconds)
            return result
        except grpc.aio.AioRpcError as error:
            code = "".join(word.capitalize() for word in error.code().name.split("_"))
            raise DriverError(
                f"driver {self.name}, {method}: rpc error: code = {code} desc = {error.details()}",
                sure=error.code() not in _UNSURE,
            ) from None

    async def info(self) -> wire.NodeGetInfoResponse:
        """Raises DriverError."""
        return await self.call("NodeGetInfo", wire.NodeGetInfoRequest(), wire.NodeGetInfoResponse)

    async def abilities(self) -> frozenset[int]:
        """The capabilities of its Node service, asked for once. Raises DriverError."""
        if self._abilities is None:
            answer = await self.call(
                "NodeGetCapabilities", wire.NodeGetCapabilitiesRequest(), wire.NodeGetCapabilitiesResponse
            )
            self._abilities = frozenset(int(capability.rpc.type) for capability in answer.capabilities)
        return self._abilities

    async def close(self) -> None:
        await self._channel.close()
