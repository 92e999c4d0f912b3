"""Which of the nodes that would do is best. Pure.

Each score is 0 to 100, weighted and added up; weights and formulas follow upstream's default profile (spread).
"""

from __future__ import annotations

import math
from collections.abc import Callable

from pilothouse.kinds.core.node import Taint
from pilothouse.reconcile.node_selectors import term_selects
from pilothouse.reconcile.taints import tolerates
from pilothouse.scheduler import inter_pod, spread
from pilothouse.scheduler.pod_info import PodInfo
from pilothouse.scheduler.snapshot import NodeInfo, Snapshot

Score = Callable[[PodInfo, list[NodeInfo], Snapshot], dict[str, float]]
"""Scores by node name; an empty answer means that the score does not tell these nodes apart."""

_BEST = 100.0
_MIB = 1024 * 1024
_LEAST_IMAGE, _MOST_IMAGE = 23 * _MIB, 1000 * _MIB


def least_allocated(pod: PodInfo, nodes: list[NodeInfo], snapshot: Snapshot) -> dict[str, float]:
    """The share of cpu and memory left free, on average."""
    return {info.name: _BEST * sum(1 - share for share in _shares(pod, info)) / 2 for info in nodes}


def balanced(pod: PodInfo, nodes: list[NodeInfo], snapshot: Snapshot) -> dict[str, float]:
    """How close the shares of cpu and memory taken would be to each other."""
    scores = {}
    for info in nodes:
        cpu, memory = _shares(pod, info)
        scores[info.name] = _BEST * (1 - abs(cpu - memory) / 2)
    return scores


def _shares(pod: PodInfo, info: NodeInfo) -> tuple[float, float]:
    """The shares of cpu and memory taken if the pod came."""
    return _share(pod, info, "cpu"), _share(pod, info, "memory")


def _share(pod: PodInfo, info: NodeInfo, resource: str) -> float:
    whole = info.allocatable.get(resource, 0)
    return min(1.0, (info.scored[resource] + pod.scored[resource]) / whole) if whole else 1.0


def preferred_node_affinity(pod: PodInfo, nodes: list[NodeInfo], snapshot: Snapshot) -> dict[str, float]:
    affinity = pod.pod.spec.affinity.node_affinity if pod.pod.spec.affinity is not None else None
    terms = affinity.preferred_during_scheduling_ignored_during_execution if affinity is not None else []
    if not terms:
        return {}
    return _stretched(
        {
            info.name: float(
                sum(t.weight for t in terms if info.node is not None and term_selects(t.preference, info.node))
            )
            for info in nodes
        }
    )


def fewest_soft_taints(pod: PodInfo, nodes: list[NodeInfo], snapshot: Snapshot) -> dict[str, float]:
    """Nodes with PreferNoSchedule taints that the pod does not tolerate come last."""
    return _stretched({info.name: -float(_intolerable(pod, info)) for info in nodes})


def _intolerable(pod: PodInfo, info: NodeInfo) -> int:
    taints: list[Taint] = info.node.spec.taints if info.node is not None else []
    tolerations = pod.pod.spec.tolerations
    return sum(
        taint.effect == "PreferNoSchedule" and not any(tolerates(toleration, taint) for toleration in tolerations)
        for taint in taints
    )


def image_locality(pod: PodInfo, nodes: list[NodeInfo], snapshot: Snapshot) -> dict[str, float]:
    """Nodes that hold the pod's images already; an image on few nodes counts less, against crowding them (upstream)."""
    images = [container.image for container in (*pod.pod.spec.init_containers, *pod.pod.spec.containers)]
    holders = {image: sum(_present(image, info) > 0 for info in nodes) for image in images}
    if not any(holders.values()):
        return {}
    scores = {}
    for info in nodes:
        size = sum(_present(image, info) * holders[image] / len(nodes) for image in images)
        most = _MOST_IMAGE * len(images)
        scores[info.name] = _BEST * (min(max(size, _LEAST_IMAGE), most) - _LEAST_IMAGE) / (most - _LEAST_IMAGE)
    return scores


def _present(image: str, info: NodeInfo) -> int:
    return info.images.get(image) or info.images.get(f"{image}:latest", 0)


def pod_preferences(pod: PodInfo, nodes: list[NodeInfo], snapshot: Snapshot) -> dict[str, float]:
    return _stretched(inter_pod.preferences(pod, nodes, snapshot))


def soft_spread(pod: PodInfo, nodes: list[NodeInfo], snapshot: Snapshot) -> dict[str, float]:
    if not pod.pod.spec.topology_spread_constraints:
        return {}
    return _stretched(spread.preferences(spread.examine(pod, snapshot, hard=False), nodes))


def _stretched(raw: dict[str, float]) -> dict[str, float]:
    """Scores stretched over 0 to 100; empty when all are the same."""
    least, most = min(raw.values(), default=0.0), max(raw.values(), default=0.0)
    if math.isclose(least, most):
        return {}
    return {name: _BEST * (value - least) / (most - least) for name, value in raw.items()}


SCORES: tuple[tuple[str, int, Score], ...] = (
    ("NodeResourcesFit", 1, least_allocated),
    ("NodeResourcesBalancedAllocation", 1, balanced),
    ("NodeAffinity", 2, preferred_node_affinity),
    ("TaintToleration", 3, fewest_soft_taints),
    ("ImageLocality", 1, image_locality),
    ("InterPodAffinity", 2, pod_preferences),
    ("PodTopologySpread", 2, soft_spread),
)


def total(pod: PodInfo, nodes: list[NodeInfo], snapshot: Snapshot) -> dict[str, float]:
    """The weighted sum for each node."""
    totals = dict.fromkeys((info.name for info in nodes), 0.0)
    for _, weight, score in SCORES:
        for name, value in score(pod, nodes, snapshot).items():
            totals[name] += weight * value
    return totals
