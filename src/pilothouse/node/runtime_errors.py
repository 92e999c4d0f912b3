"""How calls to the container runtime fail, told apart by what can be done about it."""

from __future__ import annotations

import grpc
import grpc.aio


class RuntimeFailure(Exception):
    """The runtime refused or failed; `message` is its own text, without gRPC's wrapping."""

    def __init__(self, method: str, message: str) -> None:
        super().__init__(f"{method}: {message}")
        self.method = method
        self.message = message


class RuntimeAway(RuntimeFailure):
    """The runtime cannot be reached now; the call can be made again."""


class RuntimeMissing(RuntimeFailure):
    """What the call was about is not there."""


class RuntimeTimeout(RuntimeFailure):
    """The deadline passed; what the call asked for may still happen."""


_CLASSES: dict[grpc.StatusCode, type[RuntimeFailure]] = {
    grpc.StatusCode.UNAVAILABLE: RuntimeAway,
    grpc.StatusCode.NOT_FOUND: RuntimeMissing,
    grpc.StatusCode.DEADLINE_EXCEEDED: RuntimeTimeout,
}


def failure(method: str, error: grpc.aio.AioRpcError) -> RuntimeFailure:
    """The failure that a gRPC error stands for."""
    return _CLASSES.get(error.code(), RuntimeFailure)(method, error.details() or error.code().name)
