"""gRPC probes: the standard health service (`grpc.health.v1.Health/Check`) answers SERVING."""

from __future__ import annotations

import grpc.aio

from pilothouse.kinds.core.pod import GRPCAction
from pilothouse.kinds.families import join_host_port
from pilothouse.node.probes.target import Outcome

_CHECK = "/grpc.health.v1.Health/Check"
_SERVING = b"\x08\x01"


async def check(action: GRPCAction, host: str, timeout: float) -> Outcome:
    """One health check. Its two messages have one field each, so they are written and read by hand."""
    service = action.service.encode()
    request = b"\x0a" + bytes([len(service)]) + service if 0 < len(service) < 128 else b""
    options = (("grpc.use_local_subchannel_pool", 1), ("grpc.enable_http_proxy", 0))
    async with grpc.aio.insecure_channel(join_host_port(host, action.port), options=options) as channel:
        try:
            reply = await channel.unary_unary(_CHECK)(request, timeout=timeout)
        except grpc.aio.AioRpcError as error:
            timed_out = error.code() is grpc.StatusCode.DEADLINE_EXCEEDED
            return Outcome(False, f"grpc: {error.code().name}: {error.details()}", timed_out=timed_out)
    if reply == _SERVING:
        return Outcome(True)
    return Outcome(False, f"service unhealthy (responded with {reply.hex() or 'UNKNOWN'})")
