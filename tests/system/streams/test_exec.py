"""exec through the node's API on a real containerd."""

from __future__ import annotations

import asyncio
import hashlib
import os
from typing import Any

import pytest
from streams_bench import SLEEP, V4, V5, Bench, Outcome, collect

pytestmark = pytest.mark.system


async def run(bench: Bench, *command: str, stdin: bytes | None = None, protocol: str = V5, **query: Any) -> Outcome:
    path = "/exec/default/p/main"
    streams = {"output": "1", "error": "1", **({"input": "1"} if stdin is not None else {}), **query}
    async with bench.connect(path, protocol, command=list(command), **streams) as socket:
        reading = asyncio.create_task(collect(socket))
        if stdin is not None:
            for start in range(0, len(stdin), 32 << 10):
                await socket.send_bytes(b"\0" + stdin[start : start + (32 << 10)])
            await socket.send_bytes(b"\xff\0")
        return await asyncio.wait_for(reading, 30)


async def test_output_errors_and_exit_codes(bench: Bench) -> None:
    await bench.pod("p", SLEEP)
    outcome = await run(bench, "sh", "-c", "echo out; echo err >&2; exit 3")
    assert (outcome.stdout, outcome.stderr, outcome.exit_code) == (b"out\n", b"err\n", 3)
    assert outcome.status["reason"] == "NonZeroExitCode"
    assert (await run(bench, "busybox", "true", protocol=V4)).exit_code == 0
    missing = await run(bench, "/no/such/program")
    assert missing.status["status"] == "Failure"
    assert "/no/such/program" in missing.status["message"]


async def test_piped_input_ends(bench: Bench) -> None:
    await bench.pod("p", SLEEP)
    assert (await run(bench, "busybox", "cat", stdin=b"x")).stdout == b"x"
    assert (await run(bench, "busybox", "cat", stdin=b"")).stdout == b""
    data = os.urandom(5 << 20)
    outcome = await run(bench, "busybox", "cat", stdin=data)
    assert hashlib.sha256(outcome.stdout).digest() == hashlib.sha256(data).digest()
    # A process that reads only part of its input ends all the same.
    assert (await run(bench, "busybox", "head", "-c", "3", stdin=b"abc" * 1_000_000)).stdout == b"abc"


async def test_fifty_megabytes_arrive(bench: Bench) -> None:
    await bench.pod("p", SLEEP)
    outcome = await run(bench, "busybox", "head", "-c", str(50 << 20), "/dev/zero")
    assert len(outcome.stdout) == 50 << 20
    assert outcome.exit_code == 0


async def test_many_at_once(bench: Bench) -> None:
    await bench.pod("p", SLEEP)
    outcomes = await asyncio.gather(*(run(bench, "busybox", "echo", str(number)) for number in range(20)))
    assert [outcome.stdout for outcome in outcomes] == [f"{number}\n".encode() for number in range(20)]


async def test_a_terminal_has_the_size_asked_for(bench: Bench) -> None:
    await bench.pod("p", SLEEP)
    query = {"input": "1", "output": "1", "tty": "1", "command": ["sh"]}
    async with bench.connect("/exec/default/p/main", V5, **query) as socket:
        await socket.send_bytes(b'\x04{"Width":91,"Height":37}')
        await socket.send_bytes(b"\0busybox stty size; exit 5\n")
        outcome = await asyncio.wait_for(collect(socket), 20)
    assert b"37 91" in outcome.stdout
    assert outcome.exit_code == 5


async def test_the_process_is_killed_when_the_client_goes(bench: Bench) -> None:
    state = await bench.pod("p", SLEEP)
    query = {"output": "1", "command": ["sh", "-c", "echo on; exec busybox sleep 4242"]}
    socket = await bench.connect("/exec/default/p/main", V5, **query)
    first = (await socket.receive()).data
    assert first == b"\x01on\n", first
    await socket.close()
    container = state.containers["main"].id
    for _ in range(200):
        listed = await asyncio.to_thread(bench.containerd.ctr, "tasks", "ps", container)
        if len(listed.stdout.splitlines()) <= 3:
            break
        await asyncio.sleep(0.02)
    assert len(listed.stdout.splitlines()) <= 3
    await _until(lambda: not list((bench.containerd.root / "exec").iterdir()))


async def test_what_a_daemon_holds_open_does_not_hold_up_the_end(bench: Bench) -> None:
    await bench.pod("p", SLEEP)
    outcome = await run(bench, "sh", "-c", "sleep 60 & echo begun")
    assert (outcome.stdout, outcome.exit_code) == (b"begun\n", 0)


async def test_refusals_name_their_reason(bench: Bench) -> None:
    await bench.pod("p", SLEEP)
    query = {"output": "1", "command": ["true"]}
    async with bench.connect("/exec/default/p/other", V5, **query) as socket:
        assert "other" in (await collect(socket)).status["message"]
    async with bench.session.get(
        f"{bench.url}/exec/default/p/main", params={"command": "true", "output": "1"}
    ) as reply:
        assert reply.status == 400
        assert "Upgrade request required" in (await reply.json())["message"]


async def _until(check: Any) -> None:
    for _ in range(200):
        if check():
            return
        await asyncio.sleep(0.02)
    raise AssertionError("not within 4 s")
