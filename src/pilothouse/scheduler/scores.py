"""Which of the nodes that would do is best. Pure.

Each score is 0 to 100, weighted and added up; weights and formulas follow upstream's default profile.
"""

from __future__ import annotations

import math
from collections.abc import Callable

from pilothouse.kinds.core.node import Taint
from pilothouse.reconcile.node_selectors import term_selects
from pilothouse.reconcile.taints import tolerates
from pilothouse.scheduler import inter_pod, spread
from pilothouse.scheduler.pod_info import PodInfo
from pilothouse.scheduler.profile import Profile
from pilothouse.scheduler.snapshot import NodeInfo, Snapshot

Score = Callable[[PodInfo, list[NodeInfo], Snapshot], dict[str, float]]
"""Scores by node name; an empty answer means that the score does not tell these nodes apart."""

BEST = 100.0
_MIB = 1024 * 1024
LEAST_IMAGE, MOST_IMAGE = 23 * _MIB, 1000 * _MIB
EQUAL = 1e-9
"""Totals closer than this are the same."""


def fit(pod: PodInfo, nodes: list[NodeInfo], snapshot: Snapshot) -> dict[str, float]:
    return {info.name: fit_of(pod, info) for info in nodes}


def fit_of(pod: PodInfo, info: NodeInfo) -> float:
    """The share of cpu and memory left free on average; for a scheduler that packs, the share taken."""
    free = (1 - _share(pod, info, "cpu")) + (1 - _share(pod, info, "memory"))
    return BEST * (free if pod.profile is Profile.SPREAD else 2 - free) / 2


def balanced(pod: PodInfo, nodes: list[NodeInfo], snapshot: Snapshot) -> dict[str, float]:
    return {info.name: balance_of(pod, info) for info in nodes}


def balance_of(pod: PodInfo, info: NodeInfo) -> float:
    """How close the shares of cpu and memory taken would be to each other."""
    return BEST * (1 - abs(_share(pod, info, "cpu") - _share(pod, info, "memory")) / 2)


def _share(pod: PodInfo, info: NodeInfo, resource: str) -> float:
    """The share taken if the pod came."""
    whole = info.allocatable.get(resource, 0)
    return min(1.0, (info.scored[resource] + pod.scored[resource]) / whole) if whole else 1.0


def preferred_node_affinity(pod: PodInfo, nodes: list[NodeInfo], snapshot: Snapshot) -> dict[str, float]:
    return _stretched({info.name: preference(pod, info) for info in nodes})


def preference(pod: PodInfo, info: NodeInfo) -> float:
    """The weights of the preferred node affinity's terms that the node meets."""
    affinity = pod.pod.spec.affinity.node_affinity if pod.pod.spec.affinity is not None else None
    terms = affinity.preferred_during_scheduling_ignored_during_execution if affinity is not None else []
    return float(sum(t.weight for t in terms if info.node is not None and term_selects(t.preference, info.node)))


def fewest_soft_taints(pod: PodInfo, nodes: list[NodeInfo], snapshot: Snapshot) -> dict[str, float]:
    """Nodes with PreferNoSchedule taints that the pod does not tolerate come last."""
    return _stretched({info.name: -float(intolerable(pod, info)) for info in nodes})


def intolerable(pod: PodInfo, info: NodeInfo) -> int:
    """How many of the node's PreferNoSchedule taints the pod does not tolerate."""
    taints: list[Taint] = info.node.spec.taints if info.node is not None else []
    tolerations = pod.pod.spec.tolerations
    return sum(
        taint.effect == "PreferNoSchedule" and not any(tolerates(toleration, taint) for toleration in tolerations)
        for taint in taints
    )


def image_locality(pod: PodInfo, nodes: list[NodeInfo], snapshot: Snapshot) -> dict[str, float]:
    """Nodes that hold the pod's images already; an image on few nodes counts less, against crowding them (upstream)."""
    images = images_of(pod)
    holders = {image: sum(present(image, info) > 0 for info in nodes) for image in images}
    if not any(holders.values()):
        return {}
    scores = {}
    for info in nodes:
        size = sum(present(image, info) * holders[image] / len(nodes) for image in images)
        most = MOST_IMAGE * len(images)
        scores[info.name] = BEST * (min(max(size, LEAST_IMAGE), most) - LEAST_IMAGE) / (most - LEAST_IMAGE)
    return scores


def images_of(pod: PodInfo) -> list[str]:
    """The images of all containers, in order."""
    return [container.image for container in (*pod.pod.spec.init_containers, *pod.pod.spec.containers)]


def present(image: str, info: NodeInfo) -> int:
    """The size in bytes of an image on the node, 0 where it is not."""
    return info.images.get(image) or info.images.get(f"{image}:latest", 0)


def pod_preferences(pod: PodInfo, nodes: list[NodeInfo], snapshot: Snapshot) -> dict[str, float]:
    return _stretched(inter_pod.preferences(pod, nodes, snapshot))


def soft_spread(pod: PodInfo, nodes: list[NodeInfo], snapshot: Snapshot) -> dict[str, float]:
    if not pod.pod.spec.topology_spread_constraints:
        return _stretched(spread.sibling_preferences(pod, nodes, snapshot))
    return _stretched(spread.preferences(spread.examine(pod, snapshot, hard=False), nodes))


def _stretched(raw: dict[str, float]) -> dict[str, float]:
    """Scores stretched over 0 to 100; empty when all are the same."""
    least, most = min(raw.values(), default=0.0), max(raw.values(), default=0.0)
    if math.isclose(least, most):
        return {}
    return {name: BEST * (value - least) / (most - least) for name, value in raw.items()}


SCORES: tuple[tuple[str, int, Score], ...] = (
    ("NodeResourcesFit", 1, fit),
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
