"""How far downloads are, as containerd's content store tells."""

from __future__ import annotations

import grpc.aio

from pilothouse.node.runtime_errors import failure
from pilothouse.node.wire import content_pb2

_LIST_STATUSES = "/containerd.services.content.v1.Content/ListStatuses"
_NAMESPACE = (("containerd-namespace", "k8s.io"),)


async def downloads(channel: grpc.aio.Channel) -> tuple[int, int]:
    """Bytes received and bytes expected of all downloads under way. Raises RuntimeFailure."""
    call = channel.unary_unary(
        _LIST_STATUSES,
        request_serializer=content_pb2.ListStatusesRequest.SerializeToString,
        response_deserializer=content_pb2.ListStatusesResponse.FromString,
    )
    try:
        reply = await call(content_pb2.ListStatusesRequest(), metadata=_NAMESPACE, timeout=5.0)
    except grpc.aio.AioRpcError as error:
        raise failure("ListStatuses", error) from None
    return sum(status.offset for status in reply.statuses), sum(status.total for status in reply.statuses)
