"""Logs through the node's API on a real containerd: followed, rotated, tailed, and their end."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest
from streams_bench import Bench

from pilothouse.node.state import Phase, PodState
from pilothouse.node.streams.rotation import RotationLimits, RunningLog, rotate
from pilothouse.node.streams.tasks import Tasks

pytestmark = pytest.mark.system

COUNT = "i=0; while [ $i -lt {most} ]; do i=$((i+1)); echo line $i; {pause} done; {after}"


def counting(most: int, pause: str = "", after: str = "sleep 3600") -> list[str]:
    return ["/usr/bin/sh", "-c", COUNT.format(most=most, pause=pause, after=after)]


async def logs(bench: Bench, **query: Any) -> str:
    async with bench.session.get(f"{bench.url}/containerLogs/default/p/main", params=query) as reply:
        assert reply.status == 200, await reply.text()
        return await reply.text()


async def written(bench: Bench, last: str) -> None:
    for _ in range(300):
        if last in await logs(bench):
            return
        await asyncio.sleep(0.02)
    raise AssertionError(f"{last!r} is not in the log")


async def test_tail_limit_and_time_stamps(bench: Bench) -> None:
    await bench.pod("p", counting(5000))
    await written(bench, "line 5000\n")
    assert await logs(bench) == "".join(f"line {number}\n" for number in range(1, 5001))
    assert await logs(bench, tailLines="2") == "line 4999\nline 5000\n"
    assert await logs(bench, tailLines="0") == ""
    assert await logs(bench, limitBytes="8") == "line 1\nl"
    stamped = await logs(bench, tailLines="1", timestamps="true")
    assert stamped.endswith("Z line 5000\n")
    assert await logs(bench, sinceTime="2001-01-01T00:00:00Z", tailLines="1") == "line 5000\n"
    assert await logs(bench, sinceTime="2101-01-01T00:00:00Z") == ""
    async with bench.session.get(f"{bench.url}/containerLogs/default/p/main", params={"tailLines": "x"}) as reply:
        assert reply.status == 422


async def test_follow_ends_with_the_container(bench: Bench) -> None:
    await bench.pod("p", counting(30, pause="sleep 0.05;", after="exit 0"))
    text = await asyncio.wait_for(logs(bench, follow="true"), 20)
    assert text == "".join(f"line {number}\n" for number in range(1, 31))


async def test_follow_survives_rotation(bench: Bench) -> None:
    state = await bench.pod("p", counting(100, pause="sleep 0.02;", after="exit 0"))
    following = asyncio.create_task(logs(bench, follow="true"))
    await written(bench, "line 20\n")
    container = state.containers["main"]
    tasks = Tasks(bench.runtime.channel)
    entry = RunningLog(container.id, container.log_path)
    await rotate(entry, tasks.reopen_log, RotationLimits(), 1_000_000)
    await written(bench, "line 60\n")
    await rotate(entry, tasks.reopen_log, RotationLimits(), 1_000_100)
    text = await asyncio.wait_for(following, 20)
    assert text == "".join(f"line {number}\n" for number in range(1, 101))
    names = sorted(path.name for path in Path(container.log_path).parent.iterdir())
    assert names == ["0.log", "0.log.19700112-134640.gz", "0.log.19700112-134820"]


async def test_previous_and_waiting(bench: Bench) -> None:
    state = await bench.pod("p", counting(3, after="exit 1"))
    await written(bench, "line 3\n")
    container = state.containers.pop("main")
    container.phase = Phase.EXITED
    async with bench.session.get(f"{bench.url}/containerLogs/default/p/main") as reply:
        assert reply.status in (400, 404)
    state.previous["main"] = container
    assert (await logs(bench, previous="true")).endswith("line 3\n")
    async with bench.session.get(f"{bench.url}/containerLogs/default/absent/main") as reply:
        assert reply.status == 404


async def test_only_the_api_server_may_ask(bench: Bench) -> None:
    async with bench.session.get(f"{bench.url}/healthz") as reply:
        assert await reply.text() == "ok"
    context = bench.certificates.client("system:node:s2")
    async with bench.session.get(f"{bench.url}/healthz", ssl=context) as reply:
        assert reply.status == 403
        assert "system:node:s2" in (await reply.json())["message"]


async def test_a_client_that_goes_leaves_nothing_behind(bench: Bench) -> None:
    state: PodState = await bench.pod("p", counting(1))
    async with bench.session.get(f"{bench.url}/containerLogs/default/p/main", params={"follow": "true"}) as reply:
        assert await reply.content.readline() == b"line 1\n"
        assert _waiting() == 1
    for _ in range(200):
        if _waiting() == 0:
            break
        await asyncio.sleep(0.02)
    assert _waiting() == 0
    assert state.containers["main"].running


def _waiting() -> int:
    return sum(task.get_name() == "wait for container" for task in asyncio.all_tasks())
