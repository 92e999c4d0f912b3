"""Inter-pod affinity and anti-affinity: pods that want to be near others, or away from them. Pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field

from pilothouse.scheduler.pod_info import PodInfo, Term
from pilothouse.scheduler.snapshot import NodeInfo, Snapshot

Domain = tuple[str, str]
"""A topology key and one of its values."""

AFFINITY = "node(s) didn't match pod affinity rules"
ANTI_AFFINITY = "node(s) didn't match pod anti-affinity rules"
REPELLED = "node(s) didn't satisfy existing pods anti-affinity rules"


@dataclass(frozen=True, slots=True)
class InterPod:
    """What the placed pods mean for one pod to come, worked out once for all nodes."""

    pod: PodInfo
    near: list[Counter[Domain]] = field(default_factory=list)
    """For each required affinity term of the pod, how many pods match in each domain."""
    away: list[Counter[Domain]] = field(default_factory=list)
    """The same for its required anti-affinity terms."""
    repelled: Counter[Domain] = field(default_factory=Counter)
    """Domains that the anti-affinity of placed pods closes to it."""
    fits_itself: bool = False
    """The pod matches its own affinity terms."""

    @property
    def first_of_its_kind(self) -> bool:
        """No pod matches any affinity term, and the pod itself does: it may go anywhere the topology exists."""
        return self.fits_itself and not any(self.near)

    def count(self, other: PodInfo, info: NodeInfo, sign: int, namespaces: Mapping[str, Mapping[str, str]]) -> None:
        """Takes note that another pod went from the node (-1), or came (1)."""
        own = ((self.pod.affinity, self.near), (self.pod.anti_affinity, self.away))
        for term, counts in ((term, c) for terms, found in own for term, c in zip(terms, found)):
            value = info.labels.get(term.topology_key)
            if value is not None and term.matches(other, namespaces):
                _add(counts, (term.topology_key, value), sign)
        for term in other.anti_affinity:
            value = info.labels.get(term.topology_key)
            if value is not None and term.matches(self.pod, namespaces):
                _add(self.repelled, (term.topology_key, value), sign)


def _add(counts: Counter[Domain], domain: Domain, sign: int) -> None:
    counts[domain] += sign
    if not counts[domain]:
        del counts[domain]


def examine(pod: PodInfo, snapshot: Snapshot) -> InterPod:
    repelled: Counter[Domain] = Counter()
    for other in snapshot.repelling.values():
        info = snapshot.node_of(other.key)
        for term in other.anti_affinity:
            value = info.labels.get(term.topology_key) if info is not None else None
            if value is not None and term.matches(pod, snapshot.namespaces):
                repelled[term.topology_key, value] += 1
    if not pod.affinity and not pod.anti_affinity:
        return InterPod(pod, repelled=repelled)
    near = _count(pod.affinity, snapshot)
    away = _count(pod.anti_affinity, snapshot)
    return InterPod(pod, near, away, repelled, all(term.matches(pod, snapshot.namespaces) for term in pod.affinity))


def _count(terms: tuple[Term, ...], snapshot: Snapshot) -> list[Counter[Domain]]:
    counts: list[Counter[Domain]] = [Counter() for _ in terms]
    for info, other in snapshot.placed() if terms else ():
        for term, count in zip(terms, counts, strict=True):
            value = info.labels.get(term.topology_key)
            if value is not None and term.matches(other, snapshot.namespaces):
                count[term.topology_key, value] += 1
    return counts


def objections(state: InterPod, info: NodeInfo) -> list[str]:
    """Why affinity keeps the pod from this node."""
    labels = info.labels
    for term, count in zip(state.pod.affinity, state.near, strict=True):
        value = labels.get(term.topology_key)
        if value is None or not (count[term.topology_key, value] or state.first_of_its_kind):
            return [AFFINITY]
    for term, count in zip(state.pod.anti_affinity, state.away, strict=True):
        value = labels.get(term.topology_key)
        if value is not None and count[term.topology_key, value]:
            return [ANTI_AFFINITY]
    if any(labels.get(key) == value for key, value in state.repelled):
        return [REPELLED]
    return []


def preferences(pod: PodInfo, nodes: list[NodeInfo], snapshot: Snapshot) -> dict[str, float]:
    """Raw scores by node: weights of preferred terms, the pod's own and those of placed pods towards it."""
    weights: Counter[Domain] = Counter()
    for info, other in snapshot.placed():
        if not pod.preferred and not other.preferred:
            continue
        for term in pod.preferred:
            value = info.labels.get(term.topology_key)
            if value is not None and term.matches(other, snapshot.namespaces):
                weights[term.topology_key, value] += term.weight
        for term in other.preferred:
            value = info.labels.get(term.topology_key)
            if value is not None and term.matches(pod, snapshot.namespaces):
                weights[term.topology_key, value] += term.weight
    if not weights:
        return {}
    return {
        info.name: float(sum(weight for (key, value), weight in weights.items() if info.labels.get(key) == value))
        for info in nodes
    }
