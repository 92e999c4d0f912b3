"""The measurements of `scripts/bench node`: a pod's start and end, many at once, and what idle probed pods cost."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from pathlib import Path

from pilothouse.kinds.apps.deployment import Deployment
from pilothouse.machinery.objects import Obj
from pilothouse.testing.bench.host import ENGINE, PROCESSES, Host
from pilothouse.testing.bench.measure import many_pods, opened
from pilothouse.testing.bench.pods import NAMESPACE, EnginePods, engine_pods
from pilothouse.testing.bench.raw import RawPods
from pilothouse.testing.bench.report import Figure, median, spread

Say = Callable[[str], None]

_SETTLE = 15.0
_SERVER = ["/usr/bin/sh", "-c", "trap 'exit 0' TERM; busybox httpd -f -p 8080 -h /srv & wait"]
_PROBES: dict[str, Obj] = {
    "HTTP": {"httpGet": {"port": 8080, "path": "/"}, "periodSeconds": 10},
    "exec": {"exec": {"command": ["sh", "-c", "true"]}, "periodSeconds": 10},
}


async def node_figures(
    host: Host, image: str, *, turns: int, pods: int, idle: int, seconds: float, say: Say
) -> list[Figure]:
    """All of them; `idle` pods with a probe are watched for `seconds` for each kind of probe."""
    figures = await start_and_stop(host, image, turns, say)
    figures += await many_pods(host, image, pods, say)
    for kind, probe in _PROBES.items():
        figures += await idle_pods(host, image, idle, seconds, kind, probe, say)
    return figures


async def start_and_stop(host: Host, image: str, runs: int, say: Say) -> list[Figure]:
    """One pod, by turns through the API and by raw CRI calls: request to Ready, and request to gone."""
    say(f"one pod at a time, {runs} of each kind")
    started: dict[str, list[float]] = {"ours": [], "raw": []}
    stopped: dict[str, list[float]] = {"ours": [], "raw": []}
    async with opened(host) as (client, runtime), engine_pods(client, image) as pods:
        await pods.one(0)
        raw = RawPods(host.config, runtime, image)
        await raw.start_and_stop()
        for number in range(1, runs + 1):
            for whose, (up, down) in (
                ("ours", await pods.start_and_stop(number)),
                ("raw", await raw.start_and_stop()),
            ):
                started[whose].append(up * 1e3)
                stopped[whose].append(down * 1e3)
    figures = []
    for what, took, aim in (("request to Ready", started, 1.5), ("request to gone", stopped, None)):
        ours, raws = took["ours"], took["raw"]
        figures += [
            Figure(f"one pod, {what}", median(ours), "ms", note=spread(ours, "ms")),
            Figure("  by raw CRI calls", median(raws), "ms", note=spread(raws, "ms")),
            Figure("  ratio", median(ours) / median(raws), "x", aim),
        ]
    return figures


async def idle_pods(
    host: Host, image: str, count: int, seconds: float, kind: str, probe: Obj, say: Say
) -> list[Figure]:
    """CPU and memory that `count` pods with a probe every ten seconds cost, beside none."""
    say(f"{count} idle pods with a probe by {kind}, for {seconds:.0f} s")
    async with opened(host) as (client, _), engine_pods(client, image) as pods:
        await asyncio.sleep(_SETTLE)
        bare, none = await _used(host, seconds / 2), host.proportional_memory()
        await _make(pods, image, count, kind, probe)
        await asyncio.sleep(_SETTLE)
        used, memory = await _used(host, seconds), host.proportional_memory()
        shims = _shims(host.data_dir)
        await client.delete(Deployment, f"idle-{kind.lower()}", NAMESPACE)
        await pods.gone(f"idle-{kind}")
    per_hundred = {name: (used[name] - bare[name]) * 100 / count for name in PROCESSES}
    per_pod = {name: (memory[name] - none[name]) / count / 1024 for name in PROCESSES}
    shares = ", ".join(f"{name} {share:.2f}" for name, share in per_hundred.items())
    sizes = ", ".join(f"{name} {size:.0f}" for name, size in per_pod.items())
    engine = sum(per_pod[name] for name in ENGINE)
    return [
        Figure(f"CPU of the node a hundred idle pods, probed by {kind}", per_hundred["node"], "%", note=shares),
        Figure(f"  memory of the engine a pod ({kind})", engine, "KiB", note=f"{sizes}; shims {shims / count:.0f}"),
    ]


async def _make(pods: EnginePods, image: str, count: int, kind: str, probe: Obj) -> None:
    label = f"idle-{kind}"
    container = {"name": "c", "image": image, "command": _SERVER, "readinessProbe": probe}
    template = {
        "metadata": {"labels": {"bench": label}},
        "spec": {
            "automountServiceAccountToken": False,
            "terminationGracePeriodSeconds": 5,
            "containers": [container],
        },
    }
    spec = {"replicas": count, "selector": {"matchLabels": {"bench": label}}, "template": template}
    await pods.client.create_tree(Deployment.resource, {"metadata": {"name": label.lower()}, "spec": spec}, NAMESPACE)
    await pods.ready(label, count)


async def _used(host: Host, seconds: float) -> dict[str, float]:
    """Percent of a core that each process used meanwhile."""
    before, began = host.cpu_seconds(), time.perf_counter()
    await asyncio.sleep(seconds)
    after, took = host.cpu_seconds(), time.perf_counter() - began
    return {name: (after[name] - before[name]) / took * 100 for name in after}


def _shims(data_dir: Path) -> float:
    """KiB, proportional, of containerd's shims: what a pod costs whoever starts it."""
    total = 0.0
    for process in Path("/proc").glob("[0-9]*"):
        try:
            words = (process / "cmdline").read_bytes()
            if b"containerd-shim" not in words.split(b"\0")[0] or str(data_dir).encode() not in words:
                continue
            rollup = (process / "smaps_rollup").read_text()
        except OSError:
            continue
        total += next(float(line.split()[1]) for line in rollup.splitlines() if line.startswith("Pss:"))
    return total
