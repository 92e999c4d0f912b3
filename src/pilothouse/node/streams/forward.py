"""One forwarded connection: bytes between a client's stream and a port of a pod, each direction ending by itself."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from pilothouse.linux.netns import connect_local

_PIECE = 64 << 10
QUEUE_BYTES = 1 << 20
"""What one connection may hold for a pod that does not read, before it holds up the session's other connections."""

Send = Callable[[bytes], Awaitable[None]]


@dataclass(frozen=True, slots=True)
class ForwardTarget:
    """The pod whose ports are reached; an empty `netns` means the host's network."""

    namespace: str
    name: str
    uid: str
    netns: str


class Unreachable(Exception):
    """The port cannot be connected to; the message is for the client."""


class Inbox:
    """Bytes on their way from the client to the pod, bounded."""

    def __init__(self) -> None:
        self._pieces: list[bytes] = []
        self._size = 0
        self._ended = False
        self._changed = asyncio.Condition()

    async def put(self, data: bytes) -> None:
        """Waits while the inbox is full."""
        async with self._changed:
            await self._changed.wait_for(lambda: self._size < QUEUE_BYTES or self._ended)
            if data and not self._ended:
                self._pieces.append(data)
                self._size += len(data)
                self._changed.notify_all()

    async def end(self) -> None:
        """The client sends nothing more."""
        async with self._changed:
            self._ended = True
            self._changed.notify_all()

    async def take(self) -> bytes:
        """All that is there, at least a byte; empty at the end."""
        async with self._changed:
            await self._changed.wait_for(lambda: self._pieces or self._ended)
            data = b"".join(self._pieces)
            self._pieces.clear()
            self._size = 0
            self._changed.notify_all()
            return data


async def forward(target: ForwardTarget, port: int, inbox: Inbox, send: Send) -> None:
    """Returns when the pod has closed the connection. Raises Unreachable; ConnectionError once the client is gone."""
    try:
        connection = await connect_local(target.netns, port)
    except OSError as error:
        raise Unreachable(_refusal(target, port, error)) from error
    reader, writer = await asyncio.open_connection(sock=connection, limit=_PIECE)
    sending = asyncio.create_task(_to_pod(inbox, writer))
    try:
        while piece := await _read(reader):
            await send(piece)
    finally:
        sending.cancel()
        await asyncio.gather(sending, return_exceptions=True)
        await inbox.end()
        writer.close()


async def _read(reader: asyncio.StreamReader) -> bytes:
    try:
        return await reader.read(_PIECE)
    except OSError:
        # The pod closed without reading all: to the client that is the end of the stream.
        return b""


async def _to_pod(inbox: Inbox, writer: asyncio.StreamWriter) -> None:
    try:
        while data := await inbox.take():
            writer.write(data)
            await writer.drain()
        writer.write_eof()
    except OSError:
        # The pod reads no more; what it still sends is passed on.
        await inbox.end()


def _refusal(target: ForwardTarget, port: int, error: OSError) -> str:
    """What the client is told when the port cannot be reached, in the words of upstream's message."""
    # asyncio puts words of its own where the system's belong.
    reason = os.strerror(error.errno).lower() if error.errno else str(error)
    return (
        f"error forwarding port {port} to pod {target.name}_{target.namespace}, uid {target.uid}: "
        f"failed to connect to localhost:{port} inside the pod: {reason}"
    )
