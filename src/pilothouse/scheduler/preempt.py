"""Making room for an important pod: on which node, and which less important pods have to go. Pure.

Source of the rules: upstream's DefaultPreemption. Disruption budgets are kept where that is possible: a node on which
fewer of them are broken is taken first, and on it the pods they cover are spared first.
"""

from __future__ import annotations

import itertools
import zlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from pilothouse.kinds.policy.pod_disruption_budget import PodDisruptionBudget
from pilothouse.reconcile.labels import matches
from pilothouse.scheduler import filters, inter_pod, spread
from pilothouse.scheduler.inter_pod import InterPod
from pilothouse.scheduler.pod_info import PodInfo
from pilothouse.scheduler.snapshot import NodeInfo, Snapshot
from pilothouse.scheduler.spread import Spread

HELPED = frozenset({"NodeResourcesFit", "NodePorts", "InterPodAffinity", "PodTopologySpread"})
"""Filters whose objections can end when pods go; the others speak of the node itself."""

Check = Callable[[NodeInfo, Sequence[Spread], InterPod], bool]
"""Whether the pod could run on a node as it is given, with the other pods as they are counted."""

LEAST_CANDIDATES, SHARE_OF_NODES = 100, 10
"""So many nodes where room could be made, or a tenth of all if that is more, are compared; the search begins at another
node for each pod (upstream's minCandidateNodesAbsolute, minCandidateNodesPercentage)."""


@dataclass(frozen=True, slots=True)
class Preemption:
    node: str
    victims: tuple[PodInfo, ...]


def may_preempt(pod: PodInfo, snapshot: Snapshot) -> bool:
    """False for a pod that must not, where nobody is less important, and while those that were sent away for it are
    still leaving."""
    if pod.pod.spec.preemption_policy == "Never" or not snapshot.has_lesser(pod.priority):
        return False
    nominated = snapshot.node(pod.pod.status.nominated_node_name)
    return nominated is None or not any(
        other.pod.metadata.deletion_timestamp is not None and other.priority < pod.priority
        for other in nominated.pods.values()
    )


def preempt(pod: PodInfo, snapshot: Snapshot, check: Check, *, seed: int = 0) -> Preemption | None:
    """The preemption that does least harm: few budgets broken, victims of low priority, then few."""
    nodes = snapshot.nodes()
    trial = _Trial(pod, snapshot, check)
    most = max(LEAST_CANDIDATES, len(nodes) // SHARE_OF_NODES)
    first = zlib.crc32(f"{seed}/{pod.key}".encode()) % len(nodes) if len(nodes) > most else 0
    candidates = []
    for info in itertools.chain(nodes[first:], nodes[:first]):
        victims, broken = trial.victims(info)
        if victims:
            highest = max(victim.priority for victim in victims)
            total = sum(victim.priority for victim in victims)
            candidates.append((broken, highest, total, len(victims), info.name, victims))
            if len(candidates) == most:
                break
    if not candidates:
        return None
    *_, name, chosen = min(candidates, key=lambda candidate: candidate[:5])
    return Preemption(name, tuple(chosen))


def _may_help(pod: PodInfo, info: NodeInfo, lesser: Sequence[PodInfo]) -> bool:
    """False where the node itself is in the way, or too small without all of them: most of the nodes, as a rule."""
    if any(check(pod, info) for check in filters.OF_THE_NODE):
        return False
    for resource, wanted in pod.requests.items():
        freed = sum(other.requests.get(resource, 0) for other in lesser)
        if wanted and wanted > info.allocatable.get(resource, 0) - info.requested.get(resource, 0) + freed:
            return False
    return True


class _Trial:
    """Tries nodes without some of their pods. What other pods mean for this one is worked out once, and kept in step:
    doing so for every node anew would hold everything else up for minutes in a large cluster."""

    def __init__(self, pod: PodInfo, snapshot: Snapshot, check: Check) -> None:
        self._pod, self._snapshot, self._check = pod, snapshot, check
        self._affinity = inter_pod.examine(pod, snapshot)
        self._spreads = spread.examine(pod, snapshot, hard=True)

    def victims(self, info: NodeInfo) -> tuple[list[PodInfo], int]:
        """Less important pods of this node without which the pod fits, as few as possible, and how many of them a
        budget would keep; none if that is impossible."""
        pod, snapshot = self._pod, self._snapshot
        lesser = [
            other
            for other in info.pods.values()
            if other.priority < pod.priority and not snapshot.is_assumed(other.key)
        ]
        if not lesser or not _may_help(pod, info, lesser):
            return [], 0
        node = info.copy()
        for other in lesser:
            self._take(node, other)
        victims: list[PodInfo] = []
        broken = 0
        if self._fits(node):
            # Those under an exhausted budget are spared first, then the most important, and among equals the oldest.
            ordered = sorted(lesser, key=lambda o: (-o.priority, o.pod.metadata.creation_timestamp or "", o.key))
            kept = _under_exhausted_budgets(ordered, snapshot.budgets)
            for other in sorted(ordered, key=lambda o: o.key not in kept):
                self._put(node, other)
                if not self._fits(node):
                    self._take(node, other)
                    victims.append(other)
                    broken += other.key in kept
        for other in lesser:
            if other.key not in node.pods:
                self._put(node, other)
        return victims, broken

    def _fits(self, node: NodeInfo) -> bool:
        return self._check(node, self._spreads, self._affinity)

    def _take(self, node: NodeInfo, other: PodInfo) -> None:
        node.remove(other)
        self._count(node, other, -1)

    def _put(self, node: NodeInfo, other: PodInfo) -> None:
        node.add(other)
        self._count(node, other, 1)

    def _count(self, node: NodeInfo, other: PodInfo, sign: int) -> None:
        self._affinity.count(other, node, sign, self._snapshot.namespaces)
        for constraint in self._spreads:
            constraint.count(self._pod, other, node, sign)


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
