"""What a WebSocket session is to the streams: messages in and out, as few as they need."""

from __future__ import annotations

from typing import Protocol

from pilothouse.node.streams import channels


class Socket(Protocol):
    """An accepted WebSocket."""

    @property
    def protocol(self) -> str:
        """The subprotocol agreed on."""

    async def receive(self) -> bytes | None:
        """The next message, None once the client has closed or gone."""

    async def send(self, message: bytes) -> None:
        """Waits while the client does not read. Raises ConnectionError once it has gone."""

    async def close(self) -> None: ...


async def end(socket: Socket, status: bytes) -> None:
    """Tells the client how its session ended, and closes it."""
    try:
        if last := channels.ending(socket.protocol, status):
            await socket.send(last)
    except ConnectionError:
        return
    await socket.close()
