"""Answers that turn the connection into a WebSocket; the HTTP edge carries them out."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from enum import Enum
from typing import NamedTuple, Protocol

from pilothouse.client.wire import Response


class MessageType(Enum):
    TEXT = "text"
    BINARY = "binary"
    CLOSE = "close"


class Message(NamedTuple):
    """One WebSocket message; for CLOSE, `code` and the reason in `data`."""

    type: MessageType
    data: bytes
    code: int = 1000


class Socket(Protocol):
    """One end of an open WebSocket."""

    async def receive(self) -> Message: ...

    async def send(self, message: Message) -> None:
        """Waits while the peer does not read; a CLOSE ends the socket."""


Relay = Callable[[Socket], Awaitable[None]]


@dataclass(slots=True)
class Upgrade(Response):
    """Status 101: accept the WebSocket with `protocol`, then run `relay` with it; `abandon` instead if that fails."""

    protocol: str | None = None
    relay: Relay | None = None
    abandon: Callable[[], Awaitable[object]] | None = None
