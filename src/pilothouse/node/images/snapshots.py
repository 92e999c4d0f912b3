"""Read-only views of unpacked images, by containerd's Snapshots service."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple, TypeVar

import grpc
import grpc.aio
from google.protobuf.empty_pb2 import Empty
from google.protobuf.message import Message

from pilothouse.machinery.objects import timestamp
from pilothouse.node.runtime_errors import RuntimeMissing, failure
from pilothouse.node.wire import snapshots_pb2 as wire

M = TypeVar("M", bound=Message)

SNAPSHOTTER = "overlayfs"
"""The one that the containerd of `launch` unpacks images with."""
_SERVICE = "/containerd.services.snapshots.v1.Snapshots/"
_NAMESPACE = (("containerd-namespace", "k8s.io"),)
_SECONDS = 30.0


class Mount(NamedTuple):
    """A mount that shows a snapshot: file system type, source, options as mount(8) takes them."""

    type: str
    source: str
    options: tuple[str, ...]


class Snapshots:
    """Every method raises RuntimeFailure or one of its kinds."""

    def __init__(self, channel: grpc.aio.Channel) -> None:
        self._channel = channel

    async def view(self, key: str, chain_id: str) -> list[Mount]:
        """A view of the layers that end in `chain_id`, made if it is not there; kept until it is removed."""
        try:
            return await self._mounts(key)
        except RuntimeMissing:
            labels = {"containerd.io/gc.root": timestamp()}
            request = wire.ViewSnapshotRequest(snapshotter=SNAPSHOTTER, key=key, parent=chain_id, labels=labels)
            return _mounts((await self._call("View", request, wire.ViewSnapshotResponse)).mounts)

    async def remove(self, key: str) -> None:
        """Nothing happens when there is no such view."""
        try:
            await self._call("Remove", wire.RemoveSnapshotRequest(snapshotter=SNAPSHOTTER, key=key), Empty)
        except RuntimeMissing:
            return

    async def _mounts(self, key: str) -> list[Mount]:
        request = wire.MountsRequest(snapshotter=SNAPSHOTTER, key=key)
        return _mounts((await self._call("Mounts", request, wire.MountsResponse)).mounts)

    async def _call(self, method: str, request: Message, reply: type[M]) -> M:
        call: Any = self._channel.unary_unary(
            _SERVICE + method,
            request_serializer=type(request).SerializeToString,
            response_deserializer=reply.FromString,
        )
        try:
            result: M = await call(request, timeout=_SECONDS, metadata=_NAMESPACE)
            return result
        except grpc.aio.AioRpcError as error:
            raise failure(method, error) from None


def _mounts(listed: Sequence[Any]) -> list[Mount]:
    return [Mount(mount.type, mount.source, tuple(mount.options)) for mount in listed]
