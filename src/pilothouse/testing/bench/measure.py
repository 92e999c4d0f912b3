"""The measurements of `scripts/bench up`, one after another on one machine."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

from pilothouse.client.client import Client
from pilothouse.node.cri import Runtime, RuntimeFailure
from pilothouse.testing.bench import load
from pilothouse.testing.bench.host import ENGINE, BenchError, Host, node_is_ready
from pilothouse.testing.bench.pods import engine_pods
from pilothouse.testing.bench.raw import RawPods
from pilothouse.testing.bench.report import Figure, median, percentile, spread

Say = Callable[[str], None]

_SETTLED_SECONDS = 30.0
_PROBES = "4 readiness (10 s) and 4 liveness (20 s); of each 3 by HTTP, 1 by TCP"
_WAVES = 2


@asynccontextmanager
async def opened(host: Host) -> AsyncIterator[tuple[Client, Runtime]]:
    """A client of the API, and one of the engine's containerd."""
    client, runtime = host.client(), Runtime(host.config.containerd_socket)
    try:
        yield client, runtime
    finally:
        await client.close()
        await runtime.close()


async def _answers(socket: str) -> None:
    """Returns when the containerd at the socket answers."""
    while True:
        runtime = Runtime(socket)
        try:
            await runtime.version(timeout=1.0)
            return
        except RuntimeFailure:
            await asyncio.sleep(0.005)
        finally:
            await runtime.close()


async def starts(host: Host, runs: int, say: Say) -> list[Figure]:
    """`up` with the example's data present, after `down` and after `stop`; and containerd alone for comparison."""
    cold, warm, alone = [], [], []
    for number in range(runs):
        say(f"start {number + 1} of {runs}")
        host.pilothouse("down")
        alone.append(await containerd_alone(host))
        cold.append(host.up())
        async with opened(host) as (client, _):
            if not await node_is_ready(client):
                raise BenchError("the engine said it was up, but the node is not Ready")
        host.pilothouse("deploy", str(host.data_dir.parent / "shop"), "--timeout", "120")
        host.pilothouse("stop")
        warm.append(host.up())
    return [
        Figure("up to node Ready, data present, all was down", median(cold), "s", 1.5, note=spread(cold, "s", 2)),
        Figure("up to node Ready, containers running", median(warm), "s", 1.5, note=spread(warm, "s", 2)),
        Figure("containerd alone, for comparison", median(alone), "s", note=spread(alone, "s", 2)),
    ]


async def containerd_alone(host: Host) -> float:
    """Seconds from its start until it answers."""
    config = host.config
    words = ["--config", str(config.path("containerd", "config.toml")), "--log-level", "error"]
    began = time.perf_counter()
    process = await asyncio.create_subprocess_exec(config.containerd, *words, stderr=asyncio.subprocess.DEVNULL)
    try:
        await _answers(config.containerd_socket)
        return time.perf_counter() - began
    finally:
        process.terminate()
        await process.wait()


async def idle(host: Host, seconds: float, say: Say) -> list[Figure]:
    """Memory and CPU with the example running and nobody asking, once its images are read."""
    say("until the images are read")
    read = await _settled(host)
    say(f"idle for {seconds:.0f} s")
    before, began = host.cpu_seconds(), time.perf_counter()
    await asyncio.sleep(seconds)
    after, took = host.cpu_seconds(), time.perf_counter() - began
    used = {name: (after[name] - before[name]) / took * 100 for name in after}
    memory = {name: size / 1e6 for name, size in host.proportional_memory().items()}
    engine = sum(used[name] for name in ENGINE)
    parts = ", ".join(f"{name} {size:.0f}" for name, size in memory.items())
    shares = ", ".join(f"{name} {share:.2f}" for name, share in used.items())
    return [
        Figure("memory (PSS) of engine and containerd, the shop idle", sum(memory.values()), "MB", 200, note=parts),
        Figure("CPU of engine and containerd, the shop idle", sum(used.values()), "%", 1.0, note=shares),
        Figure("  of which the engine", engine, "%", note=f"of one core; probes: {_PROBES}"),
        Figure("  before: workers that read the images, once", read, "s", note="CPU, since the start"),
    ]


async def _settled(host: Host) -> float:
    """Waits until no worker has ended for a while; the CPU seconds that workers used since the start."""
    used, since = host.children_seconds(), time.perf_counter()
    while time.perf_counter() - since < _SETTLED_SECONDS:
        await asyncio.sleep(1)
        if host.children_seconds() != used:
            used, since = host.children_seconds(), time.perf_counter()
    return used


async def one_pod(host: Host, image: str, runs: int, say: Say) -> list[Figure]:
    """One pod, by turns through the API and by raw CRI calls."""
    say(f"one pod at a time, {runs} of each kind")
    ours, raws = [], []
    async with opened(host) as (client, runtime), engine_pods(client, image) as pods:
        await pods.one(0)
        raw = RawPods(host.config, runtime, image)
        await raw.one()
        for number in range(1, runs + 1):
            ours.append(await pods.one(number))
            raws.append(await raw.one())
    return [
        Figure("one pod, request to Ready", median(ours) * 1e3, "ms", note=spread([t * 1e3 for t in ours], "ms")),
        Figure("  by raw CRI calls", median(raws) * 1e3, "ms", note=spread([t * 1e3 for t in raws], "ms")),
        Figure("  ratio", median(ours) / median(raws), "x", 1.5),
    ]


async def many_pods(host: Host, image: str, count: int, say: Say) -> list[Figure]:
    """A Deployment of `count` pods, by turns with as many raw ones; and the CPU time the engine used for each pod."""
    ours, raws = [], []
    used: dict[str, float] = {}
    async with opened(host) as (client, runtime), engine_pods(client, image) as pods:
        raw = RawPods(host.config, runtime, image)
        for number in range(_WAVES):
            say(f"{count} pods at once, wave {number + 1} of {_WAVES}")
            raws.append(count / await raw.many(count))
            before = host.cpu_seconds()
            ours.append(count / await pods.many(count, number))
            for name, seconds in host.cpu_seconds().items():
                used[name] = used.get(name, 0.0) + seconds - before[name]
    shares = ", ".join(f"{name} {seconds / count / _WAVES * 1e3:.0f}" for name, seconds in used.items())
    engine = sum(used[name] for name in ENGINE) / count / _WAVES * 1e3
    return [
        Figure(f"{count} pods at once", median(ours), "pods/s", note=spread(ours, "pods/s", 1)),
        Figure("  by raw CRI calls", median(raws), "pods/s", note=spread(raws, "pods/s", 1)),
        Figure("  ratio", median(ours) / median(raws) * 100, "%", 80, at_least=True),
        Figure("  CPU of the engine a pod, made and deleted", engine, "ms", note=f"ms: {shares}"),
    ]


async def reading(host: Host, count: int, say: Say) -> list[Figure]:
    """GETs while `count` objects are applied."""
    say(f"GETs while {count} objects are applied")
    async with opened(host) as (client, _):
        took, seconds = await load.read_while_applying(host, client, count)
        await load.remove(client)
    text = f"{len(took)} GETs in the {seconds:.1f} s; median {median(took) * 1e3:.1f} ms, most {max(took) * 1e3:.0f} ms"
    return [
        Figure(f"p99 of a GET while {count} objects are applied", percentile(took, 0.99) * 1e3, "ms", 100, note=text)
    ]


def prepare(host: Host, shop: Path, say: Say) -> None:
    """An engine with the example on it."""
    say("starting the engine and the example")
    host.up()
    host.pilothouse("deploy", str(shop), "--timeout", "180")
