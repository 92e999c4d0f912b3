"""attach through the node's API on a real containerd."""

from __future__ import annotations

import asyncio

import pytest
from streams_bench import V4, V5, Bench, collect

pytestmark = pytest.mark.system


async def test_input_reaches_the_first_process_and_ends(bench: Bench) -> None:
    await bench.pod("p", ["/usr/bin/sh", "-c", "busybox cat; echo over >&2; exit 4"], stdin=True, stdin_once=True)
    query = {"input": "1", "output": "1", "error": "1"}
    async with asyncio.timeout(20), bench.connect("/attach/default/p/main", V5, **query) as socket:
        await socket.send_bytes(b"\0hello\n")
        assert (await socket.receive()).data == b"\x01hello\n"
        await socket.send_bytes(b"\xff\0")
        outcome = await collect(socket)
    assert outcome.stderr == b"over\n"


async def test_a_terminal(bench: Bench) -> None:
    await bench.pod("p", ["/usr/bin/sh"], stdin=True, tty=True)
    query = {"input": "1", "output": "1", "tty": "1"}
    async with asyncio.timeout(20), bench.connect("/attach/default/p/main", V4, **query) as socket:
        await socket.send_bytes(b'\x04{"Width":81,"Height":27}')
        await socket.send_bytes(b"\0busybox stty size; exit\n")
        assert b"27 81" in (await collect(socket)).stdout


async def test_output_only(bench: Bench) -> None:
    await bench.pod("p", ["/usr/bin/sh", "-c", "while true; do echo tick; sleep 0.1; done"])
    async with asyncio.timeout(20), bench.connect("/attach/default/p/main", V5, output="1") as socket:
        assert (await socket.receive()).data == b"\x01tick\n"


async def test_the_runtime_detaches_when_the_input_of_a_terminal_ends(bench: Bench) -> None:
    state = await bench.pod("p", ["/usr/bin/sh"], stdin=True, tty=True)
    query = {"input": "1", "output": "1", "error": "1"}
    async with asyncio.timeout(20), bench.connect("/attach/default/p/main", V5, **query) as socket:
        await socket.send_bytes(b"\0echo attached\n")
        await socket.send_bytes(b"\xff\0")
        outcome = await collect(socket)
    assert outcome.status["status"] == "Success"
    assert (await bench.runtime.container_status(state.containers["main"].id)).state == 1
