"""Which manifest an image's name stands for, as containerd's image store tells."""

from __future__ import annotations

import grpc
import grpc.aio

from pilothouse.node.runtime_errors import failure
from pilothouse.node.wire import images_pb2

_GET = "/containerd.services.images.v1.Images/Get"
_NAMESPACE = (("containerd-namespace", "k8s.io"),)


async def target_digest(channel: grpc.aio.Channel, name: str) -> str | None:
    """The digest of the manifest or index that a name or image id stands for. Raises RuntimeFailure."""
    call = channel.unary_unary(
        _GET,
        request_serializer=images_pb2.GetImageRequest.SerializeToString,
        response_deserializer=images_pb2.GetImageResponse.FromString,
    )
    try:
        reply = await call(images_pb2.GetImageRequest(name=name), metadata=_NAMESPACE, timeout=5.0)
    except grpc.aio.AioRpcError as error:
        if error.code() == grpc.StatusCode.NOT_FOUND:
            return None
        raise failure("GetImage", error) from None
    return str(reply.image.target.digest)
