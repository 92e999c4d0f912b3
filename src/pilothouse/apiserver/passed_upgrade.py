"""Upgrades through a proxy: the other server's answer 101 is passed on, and then bytes, unread, both ways."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import TYPE_CHECKING, Final

from pilothouse.apiserver.upgrade import Pipe, Takeover

if TYPE_CHECKING:
    import aiohttp

SWITCHING: Final = 101
_PIECE: Final = 64 << 10
_NOT_PASSED: Final = frozenset({"connection", "content-length", "transfer-encoding"})


def asked(headers: Mapping[str, str]) -> dict[str, str]:
    """The headers that ask the other server for the upgrade that a client asks for, if it does."""
    wanted = headers.get("upgrade", "")
    return {"connection": "Upgrade", "upgrade": wanted} if wanted else {}


def passed_on(reply: aiohttp.ClientResponse) -> Takeover:
    """The client's answer to another server's 101."""
    from pilothouse.apiserver.takeover import StreamPipe

    connection = reply.connection
    assert connection is not None
    assert connection.protocol is not None
    transport = connection.transport
    assert transport is not None
    loop = asyncio.get_running_loop()
    reader = asyncio.StreamReader(_PIECE, loop)
    # Bytes that came with the answer lie in the library's protocol; it gives them to whoever parses from now on.
    connection.protocol.set_parser(_Unread(reader), reader)
    protocol = asyncio.StreamReaderProtocol(reader)
    transport.set_protocol(protocol)
    protocol.connection_made(transport)
    assert isinstance(transport, asyncio.Transport)
    other = StreamPipe(reader, asyncio.StreamWriter(transport, protocol, reader, loop))

    async def carry(client: Pipe) -> None:
        try:
            await splice(client, other)
        finally:
            reply.close()

    async def abandon() -> None:
        reply.close()

    kept = {name.lower(): value for name, value in reply.headers.items() if name.lower() not in _NOT_PASSED}
    return Takeover(101, {**kept, "connection": "Upgrade"}, abandon=abandon, carry=carry)


async def splice(one: Pipe, other: Pipe) -> None:
    """Passes bytes both ways until one side sends no more. Each is read only as fast as the other reads."""
    tasks = [asyncio.create_task(_copy(*pair)) for pair in ((one, other), (other, one))]
    try:
        await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def _copy(source: Pipe, target: Pipe) -> None:
    while data := await source.read():
        await target.write(data)


class _Unread:
    """What aiohttp takes for a parser: it puts bytes aside."""

    def __init__(self, reader: asyncio.StreamReader) -> None:
        self._reader = reader

    def feed_data(self, data: bytes) -> tuple[bool, bytes]:
        self._reader.feed_data(bytes(data))
        return False, b""

    def feed_eof(self) -> None:
        self._reader.feed_eof()
