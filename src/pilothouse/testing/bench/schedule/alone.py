"""The scheduler's decisions alone: no API, nothing is written."""

from __future__ import annotations

import time
from collections.abc import Callable

import msgspec

from pilothouse.kinds.core.node import Node
from pilothouse.kinds.core.pod import Pod
from pilothouse.scheduler.decide import Placement, schedule
from pilothouse.scheduler.pod_info import PodInfo
from pilothouse.scheduler.snapshot import Snapshot
from pilothouse.testing.bench.report import Figure
from pilothouse.testing.bench.schedule.shapes import PLAIN, SHAPES, Shape, made

_AIM = 5000.0
_SECONDS = 20.0
"""For each shape at most."""


def alone(nodes: int, pods: int, say: Callable[[str], None]) -> list[Figure]:
    figures = []
    for shape in SHAPES:
        placed, seconds = _placed(nodes, shape, shape.count(pods, nodes))
        rate = placed / seconds
        say(f"{nodes} nodes, scheduler alone, {shape.name}: {rate:.0f} pods/s ({placed} pods)")
        aim = _AIM if shape is PLAIN else None
        figures.append(
            Figure(f"{nodes} nodes, scheduler alone: {shape.name}", rate, "pods/s", aim, True, f"{placed} pods")
        )
    return figures


def _placed(nodes: int, shape: Shape, count: int) -> tuple[int, float]:
    """How many were placed, and in how many seconds of this thread's CPU."""
    snapshot = Snapshot()
    for node in made(nodes):
        snapshot.put_node(msgspec.convert({**node.tree, "status": node.status}, Node))
    views = [msgspec.convert({**shape.tree(number), "status": {}}, Pod) for number in range(count)]
    schedule(PodInfo.of(views[0]), snapshot)  # the arrays are made
    placed, began = 0, time.thread_time()
    for pod in views:
        info = PodInfo.of(pod)
        decision = schedule(info, snapshot)
        if isinstance(decision, Placement):
            snapshot.assume(info, decision.node)
            placed += 1
        if time.thread_time() - began > _SECONDS:
            break
    return placed, time.thread_time() - began
