"""Takes a connection from HTTP: after the answer 101 its bytes are somebody else's, both ways.

aiohttp upgrades to WebSockets only. Here its protocol is replaced on the transport by a plain stream, once the client
has been told; a client sends nothing before it is. The library's part of the connection hears of the end, so that its
request is cancelled with it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Final

from aiohttp import web

from pilothouse.apiserver.upgrade import Takeover
from pilothouse.apiserver.whole_reply import head

_PIECE: Final = 64 << 10
"""Bytes read at once; twice as many may lie unread before the transport stops reading."""


class StreamPipe:
    """A `Pipe` over asyncio's streams."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer

    async def read(self) -> bytes:
        try:
            return await self._reader.read(_PIECE)
        except ConnectionError:
            return b""

    async def write(self, data: bytes) -> None:
        if self._writer.is_closing():
            raise ConnectionResetError("the client went away")
        self._writer.write(data)
        await self._writer.drain()


class _Stream(asyncio.StreamReaderProtocol):
    """Tells `lost` of the end of the connection."""

    def __init__(self, reader: asyncio.StreamReader, lost: Callable[[BaseException | None], None]) -> None:
        super().__init__(reader)
        self._lost = lost

    def connection_lost(self, exc: Exception | None) -> None:
        super().connection_lost(exc)
        self._lost(exc)


class _Answered(web.StreamResponse):
    """Nothing more to write: the connection was somebody else's, and is closed."""

    async def prepare(self, request: web.BaseRequest) -> None:
        self.force_close()

    async def write_eof(self, data: bytes = b"") -> None:
        return None


async def take_over(raw: web.BaseRequest, response: Takeover) -> web.StreamResponse:
    """Answers 101, and returns when the work on the connection has ended."""
    assert response.carry is not None
    transport, handler = raw.transport, raw.protocol
    if transport is None or transport.is_closing():
        if response.abandon is not None:
            await response.abandon()
        raise ConnectionResetError("the client went away")
    loop = asyncio.get_running_loop()
    reader = asyncio.StreamReader(_PIECE, loop)
    protocol = _Stream(reader, handler.connection_lost)
    transport.set_protocol(protocol)
    protocol.connection_made(transport)
    writer = asyncio.StreamWriter(transport, protocol, reader, loop)
    try:
        writer.write(head(101, tuple(response.headers.items())) + b"\r\n")
        await response.carry(StreamPipe(reader, writer))
    except ConnectionError:
        pass
    finally:
        writer.close()
    return _Answered()
