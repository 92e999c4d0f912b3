"""`schedule`: the node for a pod, or why there is none. Pure."""

from __future__ import annotations

import dataclasses
import zlib
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field

from pilothouse.scheduler import inter_pod, scores, spread, volume_limits, volumes
from pilothouse.scheduler.arrays import LEAST_NODES
from pilothouse.scheduler.contradiction import contradiction
from pilothouse.scheduler.filters import FILTERS
from pilothouse.scheduler.pod_info import PodInfo
from pilothouse.scheduler.preempt import HELPED, Preemption, may_preempt, preempt
from pilothouse.scheduler.snapshot import NodeInfo, Snapshot

_OF_AFFINITY = frozenset({"NodeAffinity", "InterPodAffinity"})


@dataclass(frozen=True, slots=True)
class Placement:
    """The node chosen. `claims` are keys of claims that must be told the node and be bound before the pod is."""

    node: str
    claims: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Unschedulable:
    """No node will do: how many nodes there are, and on how many of them each reason holds.

    `filters` names the filters that objected: a change that does not concern any of them cannot help.
    """

    nodes: int
    reasons: Counter[str] = field(default_factory=Counter)
    filters: frozenset[str] = frozenset()
    general: str = ""
    """A reason that has nothing to do with any node."""
    preemption: Preemption | None = None
    """What would make room, if anything does."""
    hint: str = ""
    """What of the pod itself is in the way, whatever nodes there are."""

    @property
    def message(self) -> str:
        """As upstream words it: `0/2 nodes are available: 1 Insufficient memory, 1 node(s) were unschedulable.`"""
        if self.general:
            return f"0/{self.nodes} nodes are available: {self.general}."
        if not self.nodes:
            return "no nodes available to schedule pods"
        parts = ", ".join(sorted(f"{count} {reason}" for reason, count in self.reasons.items()))
        return f"0/{self.nodes} nodes are available: {parts}.{self.hint and f' {self.hint}'}"


def schedule(pod: PodInfo, snapshot: Snapshot, *, seed: int = 0) -> Placement | Unschedulable:
    """The best node by filters and scores. The same pod, snapshot and seed give the same answer."""
    claims = volumes.claims_of(pod, snapshot.storage)
    nodes = snapshot.nodes()
    if claims.problem:
        return Unschedulable(len(nodes), filters=frozenset({"VolumeBinding"}), general=claims.problem)
    with snapshot.with_nominated(pod):
        best, refused = (_best_of_many if len(nodes) >= LEAST_NODES else _best_of_few)(pod, snapshot, claims)
    if best:
        chosen = best[zlib.crc32(f"{seed}/{pod.key}".encode()) % len(best)]
        return Placement(chosen, tuple(claim.key for claim in claims.waiting))
    if refused.filters & _OF_AFFINITY:
        refused = dataclasses.replace(refused, hint=contradiction(pod))
    if not refused.filters & HELPED or not may_preempt(pod, snapshot):
        return refused

    def check(info: NodeInfo, spreads: Sequence[spread.Spread], affinity: inter_pod.InterPod) -> bool:
        return not objections(pod, info, claims, snapshot, spreads, affinity)[1]

    with snapshot.with_nominated(pod):
        room = preempt(pod, snapshot, check, seed=seed)
    return dataclasses.replace(refused, preemption=room)


def _best_of_few(pod: PodInfo, snapshot: Snapshot, claims: volumes.Claims) -> tuple[Sequence[str], Unschedulable]:
    """The nodes that are equally best, by name, or why there are none."""
    feasible, refused = filter_nodes(pod, snapshot.nodes(), snapshot, claims)
    if len(feasible) < 2:
        return [info.name for info in feasible], refused
    totals = scores.total(pod, feasible, snapshot)
    most = max(totals.values())
    return [name for name, total in totals.items() if most - total < scores.EQUAL], refused


def _best_of_many(pod: PodInfo, snapshot: Snapshot, claims: volumes.Claims) -> tuple[Sequence[str], Unschedulable]:
    """As `_best_of_few`, by arrays."""
    from pilothouse.scheduler.arrays.choose import Arrays  # late: NumPy takes 20 MB, which few clusters have a use for

    if not isinstance(snapshot.follower, Arrays):
        snapshot.follower = Arrays(snapshot)
    arrays = snapshot.follower
    verdict = arrays.examine(pod, claims)
    refused = Unschedulable(len(snapshot.nodes()), verdict.reasons, verdict.objecting)
    return arrays.best(verdict) if verdict.rows.any() else [], refused


def filter_nodes(
    pod: PodInfo, nodes: list[NodeInfo], snapshot: Snapshot, claims: volumes.Claims
) -> tuple[list[NodeInfo], Unschedulable]:
    """The nodes that would do, and what the filters say of the others."""
    affinity = inter_pod.examine(pod, snapshot)
    spreads = spread.examine(pod, snapshot, hard=True) if pod.pod.spec.topology_spread_constraints else []
    feasible: list[NodeInfo] = []
    reasons: Counter[str] = Counter()
    objecting: set[str] = set()
    for info in nodes:
        name, found = objections(pod, info, claims, snapshot, spreads, affinity)
        if found:
            reasons.update(found)
            objecting.add(name)
        else:
            feasible.append(info)
    return feasible, Unschedulable(len(nodes), reasons, frozenset(objecting))


def objections(
    pod: PodInfo,
    info: NodeInfo,
    claims: volumes.Claims,
    snapshot: Snapshot,
    spreads: Sequence[spread.Spread],
    affinity: inter_pod.InterPod,
) -> tuple[str, list[str]]:
    """The first filter that objects, and its reasons."""
    for name, check in FILTERS:
        if found := check(pod, info):
            return name, found
    if (claims.bound or claims.waiting) and (found := volumes.objections(claims, info, snapshot.storage)):
        return "VolumeBinding", found
    if pod.claims and volume_limits.exceeds(pod, info, snapshot.storage):
        return "NodeVolumeLimits", [volume_limits.EXCEEDED]
    if spreads and (found := spread.objections(spreads, info)):
        return "PodTopologySpread", found
    return "InterPodAffinity", inter_pod.objections(affinity, info)
