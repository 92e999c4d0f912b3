"""`scripts/bench schedule`: pods placed a second on many virtual nodes, through the API and by the scheduler alone.

Through the API: durable writes (SQLite with its fsyncs), the real admission, controllers and node traffic, in one
process. A pod counts once it is created and bound. Upstream's published floors at 5,000 nodes (scheduler_perf, API
included, no node agents) are the aims; so virtual nodes send leases and status meanwhile, but start no pods.
"""

from __future__ import annotations

import asyncio
import resource
import shutil
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import uvloop

from pilothouse.kinds.apps.deployment import Deployment
from pilothouse.kinds.core.node import Node
from pilothouse.kinds.core.pod import Pod
from pilothouse.launch.simulation.cluster import SimulatedCluster, simulated_cluster
from pilothouse.launch.simulation.nodes import made_of
from pilothouse.launch.simulation.setting import NodeType
from pilothouse.machinery.objects import Obj
from pilothouse.scheduler.decide import Placement, schedule
from pilothouse.scheduler.pod_info import PodInfo
from pilothouse.scheduler.snapshot import Snapshot
from pilothouse.store.sqlite import SqliteStore
from pilothouse.testing.bench.report import Figure

_ZONE, _HOST = "topology.kubernetes.io/zone", "kubernetes.io/hostname"
_TOGETHER = 64
Say = Callable[[str], None]


def _spec(**more: Any) -> Obj:
    container = {
        "name": "c",
        "image": "registry.example/c:1",
        "resources": {"requests": {"cpu": "10m", "memory": "16Mi"}},
    }
    return {"containers": [container], **more}


def _term(key: str, app: str) -> Obj:
    return {"topologyKey": key, "labelSelector": {"matchLabels": {"app": app}}}


SHAPES: dict[str, tuple[Obj, float, float]] = {
    "plain": (_spec(), 1.0, 680.0),
    "node affinity": (
        _spec(
            affinity={
                "nodeAffinity": {
                    "requiredDuringSchedulingIgnoredDuringExecution": {
                        "nodeSelectorTerms": [
                            {"matchExpressions": [{"key": _ZONE, "operator": "In", "values": ["a", "b"]}]}
                        ]
                    }
                }
            }
        ),
        0.5,
        220.0,
    ),
    "required anti-affinity": (
        _spec(
            affinity={
                "podAntiAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": [_term(_HOST, "anti")]},
            }
        ),
        0.2,
        60.0,
    ),
    "zone spread": (
        _spec(
            topologySpreadConstraints=[
                {"maxSkew": 1, "whenUnsatisfiable": "DoNotSchedule", **_term(_ZONE, "spread")},
            ]
        ),
        0.3,
        0.0,
    ),
}
"""By name: the pod's spec, the share of the pods that are made of it, and the least pods/s through the API."""
_APPS = {"plain": "plain", "node affinity": "near", "required anti-affinity": "anti", "zone spread": "spread"}


def schedule_figures(nodes: int, pods: int, say: Say) -> list[Figure]:
    """All figures; needs no root."""
    figures = _alone(nodes, pods, say)
    for size in sorted({100, 1000, nodes}):
        figures += uvloop.run(_through_the_api(size, pods if size == nodes else pods // 5, size == nodes, say))
    return figures


def _types(nodes: int) -> list[NodeType]:
    return [NodeType("n", nodes, "32", "256Gi", pods=1000, zones=["a", "b", "c", "d", "e"])]


def _alone(nodes: int, pods: int, say: Say) -> list[Figure]:
    """The scheduler's decisions alone: no API, nothing is written."""
    figures = []
    for name, (spec, share, _) in SHAPES.items():
        say(f"scheduler alone, {name}")
        snapshot = Snapshot()
        for node in made_of(_types(nodes)):
            snapshot.put_node(msgspec.convert({**node.tree, "status": node.status}, Node))
        made = [_view(f"p{number}", _APPS[name], spec) for number in range(int(pods * share))]
        schedule(PodInfo.of(made[0]), snapshot)
        began = time.perf_counter()
        for pod in made:
            info = PodInfo.of(pod)
            decision = schedule(info, snapshot)
            if isinstance(decision, Placement):
                snapshot.assume(info, decision.node)
        rate = len(made) / (time.perf_counter() - began)
        aim = 5000.0 if name == "plain" else None
        figures.append(Figure(f"{nodes} nodes, scheduler alone: {name}", rate, "pods/s", aim, True))
    return figures


def _view(name: str, app: str, spec: Obj) -> Pod:
    return msgspec.convert({**_tree(name, app, spec), "status": {}}, Pod)


def _tree(name: str, app: str, spec: Obj) -> Obj:
    return {"metadata": {"name": name, "namespace": "default", "labels": {"app": app}}, "spec": spec}


async def _through_the_api(nodes: int, pods: int, with_aims: bool, say: Say) -> list[Figure]:
    folder = Path(tempfile.mkdtemp(prefix="ph-bench-schedule-"))
    figures: list[Figure] = []
    try:
        say(f"registering {nodes} nodes")
        async with simulated_cluster(made_of(_types(nodes)), SqliteStore(folder / "state.db")) as cluster:
            cluster.nodes.start_pods = False
            for name, (spec, share, aim) in SHAPES.items():
                count = min(int(pods * share), nodes if name == "required anti-affinity" else pods)
                say(f"{nodes} nodes, through the API: {count} pods, {name}")
                rate = await _bound(cluster, name, spec, count)
                title = f"{nodes} nodes, through the API: {name}"
                figures.append(Figure(title, rate, "pods/s", aim if with_aims and aim else None, True, f"{count} pods"))
            say(f"{nodes} nodes, a Deployment of 1,000")
            cluster.nodes.start_pods = True
            seconds = await _deployment(cluster, 1000)
            figures.append(Figure(f"{nodes} nodes: a Deployment of 1,000, apply to all ready", seconds, "s"))
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    figures.append(Figure(f"{nodes} nodes: memory at most, all in one process", peak, "MB"))
    return figures


async def _bound(cluster: SimulatedCluster, name: str, spec: Obj, count: int) -> float:
    """Pods created and bound a second."""
    app = _APPS[name]
    bound: set[str] = set()
    done = asyncio.Event()

    def seen(key: str, old: Pod | None, new: Pod | None) -> None:
        if new is not None and new.spec.node_name and new.metadata.labels.get("app") == app:
            bound.add(key)
            if len(bound) == count:
                done.set()

    cluster.informers.of(Pod).subscribe(seen)
    gate = asyncio.Semaphore(_TOGETHER)

    async def create(number: int) -> None:
        async with gate:
            await cluster.admin.create_tree(Pod.resource, _tree(f"{app}-{number}", app, spec), "default")

    began = time.perf_counter()
    async with asyncio.TaskGroup() as tasks:
        for number in range(count):
            tasks.create_task(create(number))
    async with asyncio.timeout(600):
        await done.wait()
    return count / (time.perf_counter() - began)


async def _deployment(cluster: SimulatedCluster, replicas: int) -> float:
    selector = {"app": "deployed"}
    tree = {
        "metadata": {"name": "deployed", "namespace": "default"},
        "spec": {
            "replicas": replicas,
            "selector": {"matchLabels": selector},
            "template": {"metadata": {"labels": selector}, "spec": _spec()},
        },
    }
    ready = asyncio.Event()

    def seen(key: str, old: Deployment | None, new: Deployment | None) -> None:
        if new is not None and new.name == "deployed" and new.status.ready_replicas == replicas:
            ready.set()

    cluster.informers.of(Deployment).subscribe(seen)
    began = time.perf_counter()
    await cluster.admin.create_tree(Deployment.resource, tree, "default")
    async with asyncio.timeout(600):
        await ready.wait()
    return time.perf_counter() - began
