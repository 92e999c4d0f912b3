"""A cluster of virtual nodes in one process: the API with durable writes, and what works on it.

First as upstream measures (scheduler_perf): API and scheduler, no controllers, no node agents; a pod counts once it is
created and bound. Then the whole: controllers, leases and status of every node, and each pod started by its node.
"""

from __future__ import annotations

import asyncio
import contextlib
import gc
import tempfile
import time
from collections.abc import AsyncIterator, Callable
from pathlib import Path

from pilothouse.kinds.apps.deployment import Deployment
from pilothouse.kinds.core.pod import Pod
from pilothouse.kinds.core.service_account import ServiceAccount
from pilothouse.launch.simulation.cluster import Part, SimulatedCluster, simulated_cluster
from pilothouse.machinery.errors import AlreadyExists
from pilothouse.store.sqlite import SqliteStore
from pilothouse.testing.bench.report import Figure
from pilothouse.testing.bench.schedule.counting import Count, Watched
from pilothouse.testing.bench.schedule.shapes import PLAIN, SHAPES, Shape, made, spec

_TOGETHER = 64
"""Creates under way at once."""
_PHASE_SECONDS, _SMALL_PHASE_SECONDS = 25.0, 12.0
"""How long each phase may take, with the nodes asked for and on smaller clusters; all together under eight minutes."""
_REGISTER_SECONDS = 60.0
_SETTLE_SECONDS = 10.0
Say = Callable[[str], None]


async def through_the_api(nodes: int, pods: int, with_aims: bool, say: Say) -> list[Figure]:
    gc.collect()
    gc.freeze()
    gc.set_threshold(20_000, 20, 50)  # as the engine's process
    with tempfile.TemporaryDirectory(prefix="ph-bench-schedule-") as folder:
        return await _Run(nodes, pods, with_aims, say).all(Path(folder))


class _Run:
    def __init__(self, nodes: int, pods: int, with_aims: bool, say: Say) -> None:
        self._nodes = nodes
        self._pods = pods
        self._with_aims = with_aims
        self._phase = _PHASE_SECONDS if with_aims else _SMALL_PHASE_SECONDS
        self._say = say
        self._figures: list[Figure] = []

    async def all(self, folder: Path) -> list[Figure]:
        idle = _megabytes()
        began, cpu = time.perf_counter(), time.process_time()
        async with contextlib.AsyncExitStack() as stack:
            store = SqliteStore(folder / "state.db")
            cluster = simulated_cluster(made(self._nodes), store, parts=())
            try:
                async with asyncio.timeout(_REGISTER_SECONDS):
                    running = await stack.enter_async_context(cluster)
            except TimeoutError:
                self._add("registration NOT DONE", _REGISTER_SECONDS, "s")
                return self._figures
            seconds = time.perf_counter() - began
            note = f"{1000 * (time.process_time() - cpu) / self._nodes:.2f} ms of CPU each"
            self._add("registration, three writes a node", seconds, "s", note)
            await self._as_upstream(running, store)
            await _settled(store)
            await self._whole(running)
        self._add("memory at most, everything in one process", _megabytes(), "MB", f"{idle:.0f} MB before")
        return self._figures

    def _add(self, what: str, value: float, unit: str, note: str = "", least: float | None = None) -> None:
        figure = Figure(
            f"{self._nodes} nodes, {what}", value, unit, least if self._with_aims else None, least is not None, note
        )
        self._figures.append(figure)
        self._say(f"{figure.name}: {value:.1f} {unit} ({note})")

    def _rate(self, what: str, count: Count, least: float | None = None) -> None:
        self._add(what, count.rate, "pods/s", count.note, least)

    async def _as_upstream(self, cluster: SimulatedCluster, store: SqliteStore) -> None:
        with contextlib.suppress(AlreadyExists):
            await cluster.admin.create_tree(ServiceAccount.resource, {"metadata": {"name": "default"}}, "default")
        await self._pending_first(cluster)
        for shape in SHAPES:
            await _settled(store)
            wanted = shape.count(self._pods, self._nodes)
            bound = Watched(cluster.informers, _bound(shape.app))
            async with _creating(cluster, shape, wanted):
                count = await bound.reach(wanted, self._phase)
            self._rate(f"API and scheduler, created and bound: {shape.name}", count, shape.least)

    async def _pending_first(self, cluster: SimulatedCluster) -> None:
        """Pods that wait already when the scheduler starts: what binding alone takes."""
        wanted, prefix = PLAIN.count(self._pods, self._nodes) // 2, "first-"
        there = Watched(cluster.informers, lambda pod: pod.metadata.labels.get("app") == prefix + PLAIN.app)
        async with _creating(cluster, PLAIN, wanted, prefix):
            made = await there.reach(wanted, self._phase)
        self._rate("API, created: plain", made)
        bound = Watched(cluster.informers, _bound(prefix + PLAIN.app))
        count = await bound.reach(made.reached, self._phase, lambda: cluster.start(Part.SCHEDULER))
        self._rate("API and scheduler, bound, created before: plain", count, PLAIN.least)

    async def _whole(self, cluster: SimulatedCluster) -> None:
        cluster.nodes.start_pods = False  # of the pods so far
        cluster.start(Part.CONTROLLERS)
        cluster.start(Part.NODES)
        await cluster.nodes.at_work()
        cluster.nodes.start_pods = True
        wanted, prefix = PLAIN.count(self._pods, self._nodes) // 2, "whole-"
        running = Watched(cluster.informers, _runs(prefix + PLAIN.app))
        async with _creating(cluster, PLAIN, wanted, prefix):
            count = await running.reach(wanted, self._phase)
        self._rate("everything, created, bound and started by its node: plain", count)
        await self._deployment(cluster, 1000)

    async def _deployment(self, cluster: SimulatedCluster, replicas: int) -> None:
        ready = 0
        changed = asyncio.Event()

        def seen(key: str, old: Deployment | None, new: Deployment | None) -> None:
            nonlocal ready
            if new is not None and new.name == "deployed":
                ready = new.status.ready_replicas
                changed.set()

        cluster.informers.of(Deployment).subscribe(seen)
        began, cpu = time.perf_counter(), time.process_time()
        await cluster.admin.create_tree(Deployment.resource, _deployed(replicas), "default")
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(self._phase):
                while ready < replicas:
                    changed.clear()
                    await changed.wait()
        count = Count(ready, replicas, time.perf_counter() - began, time.process_time() - cpu)
        self._add(f"everything, a Deployment of {replicas}, apply to all ready", count.seconds, "s", count.note)


async def _settled(store: SqliteStore) -> None:
    """Waits until what the last phase left to be written (events) is there, so that the next does not pay for it."""
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(_SETTLE_SECONDS):
            before = -1
            while before != store.revision:
                before = store.revision
                await asyncio.sleep(0.5)


@contextlib.asynccontextmanager
async def _creating(cluster: SimulatedCluster, shape: Shape, count: int, prefix: str = "") -> AsyncIterator[None]:
    """Creates pods meanwhile, and no more afterwards."""
    numbers = iter(range(count))

    async def creator() -> None:
        for number in numbers:
            await cluster.admin.create_tree(Pod.resource, shape.tree(number, prefix=prefix), "default")

    tasks = [asyncio.create_task(creator()) for _ in range(_TOGETHER)]
    try:
        yield
    finally:
        for task in tasks:
            task.cancel()
        for outcome in await asyncio.gather(*tasks, return_exceptions=True):
            if isinstance(outcome, Exception):
                raise outcome


def _bound(app: str) -> Callable[[Pod], bool]:
    return lambda pod: bool(pod.spec.node_name) and pod.metadata.labels.get("app") == app


def _runs(app: str) -> Callable[[Pod], bool]:
    return lambda pod: pod.status.phase == "Running" and pod.metadata.labels.get("app") == app


def _deployed(replicas: int) -> dict[str, object]:
    selector = {"app": "deployed"}
    return {
        "metadata": {"name": "deployed", "namespace": "default"},
        "spec": {
            "replicas": replicas,
            "selector": {"matchLabels": selector},
            "template": {"metadata": {"labels": selector}, "spec": spec()},
        },
    }


def _megabytes() -> float:
    """The most this program has had resident. (getrusage's counts what its parent had when it was started.)"""
    status = Path("/proc/self/status").read_text()
    return int(next(line for line in status.splitlines() if line.startswith("VmHWM:")).split()[1]) / 1024
