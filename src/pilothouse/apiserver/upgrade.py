"""Answers that turn the connection into something else; the HTTP edge carries them out."""

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


class Pipe(Protocol):
    """A connection's bytes, once it is no longer HTTP's."""

    async def read(self) -> bytes:
        """At least a byte; empty when the peer sends no more."""

    async def write(self, data: bytes) -> None:
        """Waits while the peer does not read. Raises ConnectionError once it has gone."""


Relay = Callable[[Socket], Awaitable[None]]
Carry = Callable[[Pipe], Awaitable[None]]


@dataclass(slots=True)
class Upgrade(Response):
    """Status 101: accept the WebSocket with `protocol`, then run `relay` with it; `abandon` instead if that fails."""

    protocol: str | None = None
    relay: Relay | None = None
    abandon: Callable[[], Awaitable[object]] | None = None


@dataclass(slots=True)
class Takeover(Upgrade):
    """Status 101: tell the client `headers`, then `carry` has the connection; it is closed when that returns."""

    carry: Carry | None = None
