"""Probes: thresholds, and what an HTTP answer means."""

from __future__ import annotations

import asyncio

import pytest

from pilothouse.kinds.core.pod import HTTPGetAction
from pilothouse.linux.host import has_ipv6
from pilothouse.node.probes.counting import Counter
from pilothouse.node.probes.http import get
from pilothouse.node.probes.tcp import connect


def verdicts(counter: Counter, outcomes: str) -> list[bool | None]:
    result = []
    for letter in outcomes:
        counter.add(letter == "+")
        result.append(counter.verdict)
    return result


def test_thresholds() -> None:
    assert verdicts(Counter(1, 3), "+--+---") == [True, True, True, True, True, True, False]
    assert verdicts(Counter(2, 1), "+-++") == [None, False, False, True]


def test_only_changes_are_told() -> None:
    counter = Counter(1, 2)
    assert [counter.add(letter == "+") for letter in "++---+"] == [True, False, False, True, False, True]


@pytest.mark.parametrize(
    ("answer", "success", "sign"),
    [
        (b"HTTP/1.1 200 OK\r\n\r\n", True, ""),
        (b"HTTP/1.0 302 Found\r\n\r\n", True, ""),
        (b"HTTP/1.1 503 no\r\n\r\n", False, "statuscode: 503"),
        (b"hello\r\n", False, "malformed"),
        (b"", False, "EOF"),
    ],
)
async def test_http(answer: bytes, success: bool, sign: str) -> None:
    asked: list[bytes] = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        asked.append(await reader.readuntil(b"\r\n\r\n"))
        writer.write(answer)
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    outcome = await get(HTTPGetAction(path="/ok"), "127.0.0.1", port, 1.0)
    server.close()
    assert outcome.success is success
    assert sign in outcome.message
    assert asked[0].startswith(b"GET /ok HTTP/1.1\r\n")


IPV6 = pytest.mark.skipif(not has_ipv6(), reason="this host has no IPv6")


@IPV6
async def test_http_by_ipv6() -> None:
    asked: list[bytes] = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        asked.append(await reader.readuntil(b"\r\n\r\n"))
        writer.write(b"HTTP/1.1 200 OK\r\n\r\n")
        writer.close()

    server = await asyncio.start_server(serve, "::1", 0)
    port = server.sockets[0].getsockname()[1]
    assert (await get(HTTPGetAction(path="/ok"), "::1", port, 1.0)).success
    server.close()
    assert f"\r\nHost: [::1]:{port}\r\n".encode() in asked[0]
    assert f'Get "http://[::1]:{port}/ok"' in (await get(HTTPGetAction(path="/ok"), "::1", port, 1.0)).message
    assert f"dial tcp [::1]:{port}" in (await connect("::1", port, 1.0)).message


async def test_silence_is_a_time_out() -> None:
    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read()
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    outcome = await get(HTTPGetAction(), "127.0.0.1", port, 0.05)
    assert (outcome.success, outcome.timed_out) == (False, True)
    assert (await connect("127.0.0.1", port, 1.0)).success
    server.close()
    await server.wait_closed()
    assert not (await connect("127.0.0.1", port, 1.0)).success
