"""Topology spread constraints: pods shared out evenly over zones, hosts or any other label. Pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from pilothouse.kinds.core.node import ZONE
from pilothouse.kinds.core.pod import TopologySpreadConstraint
from pilothouse.machinery.selectors import Selector
from pilothouse.scheduler import filters
from pilothouse.scheduler.pod_info import PodInfo, own_selector
from pilothouse.scheduler.profile import Profile
from pilothouse.scheduler.snapshot import NodeInfo, Snapshot

SKEWED = "node(s) didn't match pod topology spread constraints"
NO_LABEL = f"{SKEWED} (missing required label)"


@dataclass(slots=True)
class Spread:
    """One constraint with the matching pods counted in each of the domains that count for it."""

    constraint: TopologySpreadConstraint
    keys: Sequence[str]
    """The topology keys of all constraints of its sort: nodes without one of them count for none."""
    counts: Counter[str]
    least: int
    selector: Selector
    own: int
    """1 if the pod matches its own constraint, as it should."""

    def count(self, pod: PodInfo, other: PodInfo, info: NodeInfo, sign: int) -> None:
        """Takes note that another pod went from the node (-1), or came (1)."""
        if _counts(pod, self.constraint, self.keys, info) and _matches(pod, self.selector, other):
            self.counts[info.labels[self.constraint.topology_key]] += sign
            self.least = _least(self.constraint, self.counts)


def examine(pod: PodInfo, snapshot: Snapshot, *, hard: bool) -> list[Spread]:
    """The pod's constraints of one sort: hard (DoNotSchedule) or soft (ScheduleAnyway)."""
    wanted = "DoNotSchedule" if hard else "ScheduleAnyway"
    constraints = [c for c in pod.pod.spec.topology_spread_constraints if c.when_unsatisfiable == wanted]
    keys = [constraint.topology_key for constraint in constraints]
    return [_examine(pod, constraint, keys, snapshot) for constraint in constraints]


def _examine(pod: PodInfo, constraint: TopologySpreadConstraint, keys: list[str], snapshot: Snapshot) -> Spread:
    selector = own_selector(pod.pod, constraint.label_selector, constraint.match_label_keys)
    counts: Counter[str] = Counter()
    for info in snapshot.nodes():
        if _counts(pod, constraint, keys, info):
            counts[info.labels[constraint.topology_key]] += _matching(pod, selector, info)
    own = int(selector.matches(pod.pod.metadata.labels))
    return Spread(constraint, keys, counts, _least(constraint, counts), selector, own)


def _least(constraint: TopologySpreadConstraint, counts: Counter[str]) -> int:
    if constraint.min_domains is not None and len(counts) < constraint.min_domains:
        return 0
    return min(counts.values(), default=0)


def _counts(pod: PodInfo, constraint: TopologySpreadConstraint, keys: Sequence[str], info: NodeInfo) -> bool:
    """By default nodes that the pod's affinity excludes do not count, tainted ones do."""
    if not all(key in info.labels for key in keys):
        return False
    if (constraint.node_affinity_policy or "Honor") == "Honor" and filters.node_affinity(pod, info):
        return False
    return (constraint.node_taints_policy or "Ignore") == "Ignore" or not filters.taints(pod, info)


def _matching(pod: PodInfo, selector: Selector, info: NodeInfo) -> int:
    return sum(_matches(pod, selector, other) for other in info.pods.values())


def _matches(pod: PodInfo, selector: Selector, other: PodInfo) -> bool:
    meta = other.pod.metadata
    return (
        meta.namespace == pod.pod.metadata.namespace
        and meta.deletion_timestamp is None
        and selector.matches(meta.labels)
    )


def objections(spreads: Sequence[Spread], info: NodeInfo) -> list[str]:
    """Why the hard constraints keep the pod from this node."""
    for spread in spreads:
        value = info.labels.get(spread.constraint.topology_key)
        if value is None:
            return [NO_LABEL]
        if spread.counts[value] + spread.own - spread.least > spread.constraint.max_skew:
            return [SKEWED]
    return []


def preferences(spreads: list[Spread], nodes: list[NodeInfo]) -> dict[str, float]:
    """Raw scores by node for the soft constraints: the fewer matching pods in its domains, the higher."""
    if not spreads:
        return {}
    return {
        info.name: -float(sum(_crowd(spread, info.labels.get(spread.constraint.topology_key)) for spread in spreads))
        for info in nodes
    }


def spreads_siblings(pod: PodInfo) -> bool:
    """True for a pod that is kept apart from others of its controller although it does not ask for anything.

    Source: upstream's default constraints (`defaultingType: System`: hostname and zone, ScheduleAnyway). They would
    undo what packing is for.
    """
    return bool(pod.owner) and not pod.pod.spec.topology_spread_constraints and pod.profile is Profile.SPREAD


def sibling_preferences(pod: PodInfo, nodes: list[NodeInfo], snapshot: Snapshot) -> dict[str, float]:
    """Raw scores by node: the fewer pods of its controller there are on it and in its zone, the higher."""
    counts = snapshot.siblings(pod.owner)
    if not counts or not spreads_siblings(pod):
        return {}
    zones: Counter[str] = Counter()
    for info in snapshot.nodes():
        if (zone := info.labels.get(ZONE)) is not None:
            zones[zone] += counts.get(info.name, 0)
    nowhere = max(zones.values(), default=0) + 1
    return {
        info.name: -float(counts.get(info.name, 0) + (zones[info.labels[ZONE]] if ZONE in info.labels else nowhere))
        for info in nodes
    }


def _crowd(spread: Spread, value: str | None) -> int:
    """A node without the label counts as the fullest domain."""
    return max(spread.counts.values(), default=0) + 1 if value is None else spread.counts[value]
