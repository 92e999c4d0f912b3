"""Port-forward through the node's API on a real containerd, in both of its protocols."""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import os
import socket
from collections.abc import AsyncIterator
from typing import Any

import pytest
from streams_bench import SLEEP, V5, Bench

from pilothouse.linux.netns import socket_in
from pilothouse.machinery import spdy
from pilothouse.node.state import PodState
from pilothouse.node.streams.forward_spdy import PROTOCOL

pytestmark = pytest.mark.system

PORT = 8080


@pytest.fixture
async def echo(bench: Bench) -> AsyncIterator[PodState]:
    """A pod in whose network a server sends back what it got, once its client has ended its side."""
    state = await bench.pod("p", SLEEP)
    listening = socket_in(state.netns)
    listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    listening.bind(("127.0.0.1", PORT))

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        data = await reader.read()
        writer.write(b"got " + hashlib.sha256(data).hexdigest().encode() + b" " + data)
        await writer.drain()
        writer.close()

    server = await asyncio.start_server(answer, sock=listening)
    yield state
    server.close()


class Client:
    """kubectl's side of SPDY over WebSocket."""

    def __init__(self, socket: Any) -> None:
        self._socket = socket
        self._framing = spdy.Framing()
        self._next = 1
        self.received: dict[int, bytearray] = {}
        self.ended: dict[int, asyncio.Event] = {}
        self.replied: set[int] = set()

    async def read(self) -> None:
        async for message in self._socket:
            for event in self._framing.receive(message.data):
                if isinstance(event, spdy.Replied):
                    self.replied.add(event.stream)
                elif isinstance(event, spdy.Data):
                    self.received[event.stream] += event.payload
                    if event.fin:
                        self.ended[event.stream].set()

    async def open(self, kind: str, request: int, port: int = PORT, *, fin: bool = False) -> int:
        stream, self._next = self._next, self._next + 2
        self.received[stream], self.ended[stream] = bytearray(), asyncio.Event()
        headers = {"streamtype": kind, "port": str(port), "requestid": str(request)}
        await self._socket.send_bytes(self._framing.open(stream, headers, fin=fin))
        return stream

    async def exchange(self, request: int, data: bytes, port: int = PORT) -> tuple[bytes, bytes]:
        """What comes back on the data and on the error stream of a new connection."""
        errors = await self.open("error", request, port)
        await self._socket.send_bytes(spdy.Framing.data(errors, b"", fin=True))
        stream = await self.open("data", request, port)
        for start in range(0, len(data), 32 << 10):
            await self._socket.send_bytes(spdy.Framing.data(stream, data[start : start + (32 << 10)]))
        await self._socket.send_bytes(spdy.Framing.data(stream, b"", fin=True))
        await self.ended[stream].wait()
        await self.ended[errors].wait()
        assert {errors, stream} <= self.replied
        return bytes(self.received[stream]), bytes(self.received[errors])


@contextlib.asynccontextmanager
async def kubectl(bench: Bench) -> AsyncIterator[Client]:
    async with bench.connect("/portForward/default/p", PROTOCOL) as socket:
        assert socket.protocol == PROTOCOL
        client = Client(socket)
        reading = asyncio.create_task(client.read())
        yield client
        reading.cancel()


def expected(data: bytes) -> bytes:
    return b"got " + hashlib.sha256(data).hexdigest().encode() + b" " + data


async def test_connections_with_half_close(bench: Bench, echo: PodState) -> None:
    async with asyncio.timeout(30), kubectl(bench) as client:
        data = os.urandom(3 << 20)
        assert await client.exchange(0, data) == (expected(data), b"")
        assert await client.exchange(1, b"") == (expected(b""), b"")


async def test_many_connections_in_one_session(bench: Bench, echo: PodState) -> None:
    pieces = [os.urandom(10_000) for _ in range(50)]
    async with asyncio.timeout(30), kubectl(bench) as client:
        found = await asyncio.gather(*(client.exchange(number, piece) for number, piece in enumerate(pieces)))
    assert found == [(expected(piece), b"") for piece in pieces]


async def test_a_closed_port_is_told_on_the_error_stream(bench: Bench, echo: PodState) -> None:
    async with asyncio.timeout(30), kubectl(bench) as client:
        data, error = await client.exchange(0, b"x", port=9)
        assert data == b""
        assert error.startswith(b"error forwarding port 9 to pod p_default, uid ")
        assert b"connection refused" in error
        # The session goes on.
        assert (await client.exchange(1, b"x"))[0] == expected(b"x")


async def test_channels(bench: Bench, echo: PodState) -> None:
    async with asyncio.timeout(30), bench.connect("/portForward/default/p", V5, ports=f"{PORT},9") as socket:
        first = [(await socket.receive()).data for _ in range(4)]
        assert first == [bytes((index,)) + port.to_bytes(2, "little") for index, port in enumerate((PORT, PORT, 9, 9))]
        await socket.send_bytes(b"\0hello")
        await socket.send_bytes(b"\xff\0")
        parts: dict[int, bytes] = {}
        async for message in socket:
            parts[message.data[0]] = parts.get(message.data[0], b"") + message.data[1:]
    assert parts[0] == expected(b"hello")
    assert b"connection refused" in parts[3]
