"""Making room for an important pod: on which node, and which less important pods have to go. Pure.

Source of the rules: upstream's DefaultPreemption, without disruption budgets, which are not served yet.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from pilothouse.scheduler.pod_info import PodInfo
from pilothouse.scheduler.snapshot import NodeInfo, Snapshot

HELPED = frozenset({"NodeResourcesFit", "NodePorts", "InterPodAffinity", "PodTopologySpread"})
"""Filters whose objections can end when pods go; the others speak of the node itself."""

Fits = Callable[[PodInfo, NodeInfo], bool]
"""Whether the pod could run on the node as the snapshot stands at the moment of the call."""


@dataclass(frozen=True, slots=True)
class Preemption:
    node: str
    victims: tuple[PodInfo, ...]


def may_preempt(pod: PodInfo, snapshot: Snapshot) -> bool:
    """False for a pod that must not, and while those that were sent away for it are still leaving."""
    if pod.pod.spec.preemption_policy == "Never":
        return False
    nominated = snapshot.node(pod.pod.status.nominated_node_name)
    return nominated is None or not any(
        other.pod.metadata.deletion_timestamp is not None and other.priority < pod.priority
        for other in nominated.pods.values()
    )


def preempt(pod: PodInfo, snapshot: Snapshot, fits: Fits) -> Preemption | None:
    """The preemption that does least harm: victims of low priority, then few. The snapshot is left as it was."""
    candidates = []
    for info in snapshot.nodes():
        victims = _victims(pod, info, snapshot, fits)
        if victims:
            highest = max(victim.priority for victim in victims)
            total = sum(victim.priority for victim in victims)
            candidates.append((highest, total, len(victims), info.name, victims))
    if not candidates:
        return None
    *_, name, chosen = min(candidates, key=lambda candidate: candidate[:4])
    return Preemption(name, tuple(chosen))


def _victims(pod: PodInfo, info: NodeInfo, snapshot: Snapshot, fits: Fits) -> list[PodInfo]:
    """Less important pods of this node without which the pod fits, as few as possible; none if that is impossible."""
    lesser = [
        other for other in info.pods.values() if other.priority < pod.priority and not snapshot.is_assumed(other.key)
    ]
    if not lesser:
        return []
    for other in lesser:
        snapshot.remove_pod(other.key)
    victims: list[PodInfo] = []
    try:
        if not fits(pod, info):
            return []
        # The most important, and among equals the oldest, are spared first.
        for other in sorted(lesser, key=lambda o: (-o.priority, o.pod.metadata.creation_timestamp or "", o.key)):
            snapshot.put_pod(other, info.name)
            if not fits(pod, info):
                snapshot.remove_pod(other.key)
                victims.append(other)
        return victims
    finally:
        for other in lesser:
            snapshot.put_pod(other, info.name)
