"""Making room for an important pod: on which node, and which less important pods have to go. Pure.

Source of the rules: upstream's DefaultPreemption. Disruption budgets are kept where that is possible: a node on which
fewer of them are broken is taken first, and on it the pods they cover are spared first.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from pilothouse.kinds.policy.pod_disruption_budget import PodDisruptionBudget
from pilothouse.reconcile.labels import matches
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
    """The preemption that does least harm: few budgets broken, victims of low priority, then few. The snapshot is left
    as it was."""
    candidates = []
    for info in snapshot.nodes():
        victims, broken = _victims(pod, info, snapshot, fits)
        if victims:
            highest = max(victim.priority for victim in victims)
            total = sum(victim.priority for victim in victims)
            candidates.append((broken, highest, total, len(victims), info.name, victims))
    if not candidates:
        return None
    *_, name, chosen = min(candidates, key=lambda candidate: candidate[:5])
    return Preemption(name, tuple(chosen))


def _victims(pod: PodInfo, info: NodeInfo, snapshot: Snapshot, fits: Fits) -> tuple[list[PodInfo], int]:
    """Less important pods of this node without which the pod fits, as few as possible, and how many of them a budget
    would keep; none if that is impossible."""
    lesser = [
        other for other in info.pods.values() if other.priority < pod.priority and not snapshot.is_assumed(other.key)
    ]
    if not lesser:
        return [], 0
    for other in lesser:
        snapshot.remove_pod(other.key)
    victims: list[PodInfo] = []
    broken = 0
    try:
        if not fits(pod, info):
            return [], 0
        # Those under an exhausted budget are spared first, then the most important, and among equals the oldest.
        ordered = sorted(lesser, key=lambda o: (-o.priority, o.pod.metadata.creation_timestamp or "", o.key))
        kept = _under_exhausted_budgets(ordered, snapshot.budgets)
        for other in sorted(ordered, key=lambda o: o.key not in kept):
            snapshot.put_pod(other, info.name)
            if not fits(pod, info):
                snapshot.remove_pod(other.key)
                victims.append(other)
                broken += other.key in kept
        return victims, broken
    finally:
        for other in lesser:
            snapshot.put_pod(other, info.name)


def _under_exhausted_budgets(pods: Sequence[PodInfo], budgets: Sequence[PodDisruptionBudget]) -> set[str]:
    """Keys of the pods whose going would break a budget, were all of them to go in this order."""
    left = {budget.key: budget.status.disruptions_allowed for budget in budgets}
    found = set()
    for info in pods:
        meta = info.pod.metadata
        for budget in budgets:
            if budget.namespace != meta.namespace or not matches(budget.spec.selector, meta.labels):
                continue
            # One that was allowed to go already is paid for.
            if meta.name in budget.status.disrupted_pods:
                continue
            left[budget.key] -= 1
            if left[budget.key] < 0:
                found.add(info.key)
    return found
