"""containerd's event stream: exits of containers some ten milliseconds after they happen, without polling."""

from __future__ import annotations

import datetime as dt
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import TypeAlias

import grpc.aio

from pilothouse.node.runtime_errors import failure
from pilothouse.node.wire import event_service_pb2 as service
from pilothouse.node.wire import events_pb2, images_pb2, types_pb2

_SUBSCRIBE = "/containerd.services.events.v1.Events/Subscribe"
NAMESPACE = "k8s.io"
"""containerd's namespace of everything that was made through CRI."""
_TOPICS = ("/tasks/exit", "/tasks/oom", "/images/delete", "/images/update")


@dataclass(frozen=True, slots=True)
class Exited:
    """The first process of a container or sandbox ended."""

    container_id: str
    exit_code: int
    at: float


@dataclass(frozen=True, slots=True)
class OutOfMemory:
    """The kernel killed some process of the container for want of memory."""

    container_id: str


@dataclass(frozen=True, slots=True)
class ImageChanged:
    name: str


RuntimeEvent: TypeAlias = Exited | OutOfMemory | ImageChanged


async def subscribe(channel: grpc.aio.Channel) -> AsyncIterator[RuntimeEvent]:
    """Events from now on. Raises RuntimeFailure when the stream ends; what happened since must then be listed."""
    filters = [f'topic=="{topic}",namespace=={NAMESPACE}' for topic in _TOPICS]
    call = channel.unary_stream(
        _SUBSCRIBE,
        request_serializer=service.SubscribeRequest.SerializeToString,
        response_deserializer=types_pb2.Envelope.FromString,
    )(service.SubscribeRequest(filters=filters))
    try:
        async for envelope in call:
            event = _decode(envelope)
            if event is not None:
                yield event
    except grpc.aio.AioRpcError as error:
        raise failure("Subscribe", error) from None
    finally:
        call.cancel()


def _decode(envelope: types_pb2.Envelope) -> RuntimeEvent | None:
    if envelope.topic == "/tasks/exit":
        exit_ = events_pb2.TaskExit.FromString(envelope.event.value)
        if exit_.id != exit_.container_id:
            return None  # a process started by exec
        return Exited(exit_.container_id, exit_.exit_status, exit_.exited_at.ToDatetime(dt.UTC).timestamp())
    if envelope.topic == "/tasks/oom":
        return OutOfMemory(events_pb2.TaskOOM.FromString(envelope.event.value).container_id)
    if envelope.topic.startswith("/images/"):
        return ImageChanged(images_pb2.ImageDelete.FromString(envelope.event.value).name)
    return None
