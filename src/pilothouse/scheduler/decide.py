"""`schedule`: the node for a pod, or why there is none. Pure."""

from __future__ import annotations

import dataclasses
import zlib
from collections import Counter
from dataclasses import dataclass, field

from pilothouse.scheduler import inter_pod, scores, spread, volumes
from pilothouse.scheduler.filters import FILTERS
from pilothouse.scheduler.pod_info import PodInfo
from pilothouse.scheduler.preempt import HELPED, Preemption, may_preempt, preempt
from pilothouse.scheduler.snapshot import NodeInfo, Snapshot


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

    @property
    def message(self) -> str:
        """As upstream words it: `0/2 nodes are available: 1 Insufficient memory, 1 node(s) were unschedulable.`"""
        if self.general:
            return f"0/{self.nodes} nodes are available: {self.general}."
        if not self.nodes:
            return "no nodes available to schedule pods"
        parts = ", ".join(sorted(f"{count} {reason}" for reason, count in self.reasons.items()))
        return f"0/{self.nodes} nodes are available: {parts}."


def schedule(pod: PodInfo, snapshot: Snapshot, *, seed: int = 0) -> Placement | Unschedulable:
    """The best node by filters and scores. The same pod, snapshot and seed give the same answer."""
    nodes = snapshot.nodes()
    claims = volumes.claims_of(pod, snapshot.storage)
    if claims.problem:
        return Unschedulable(len(nodes), filters=frozenset({"VolumeBinding"}), general=claims.problem)
    with snapshot.with_nominated(pod):
        feasible, refused = _filter(pod, nodes, snapshot, claims)
    if not feasible:
        if not refused.filters & HELPED or not may_preempt(pod, snapshot):
            return refused
        room = preempt(pod, snapshot, lambda one, info: bool(_filter(one, [info], snapshot, claims)[0]))
        return dataclasses.replace(refused, preemption=room)
    waiting = tuple(claim.key for claim in claims.waiting)
    if len(feasible) == 1:
        return Placement(feasible[0].name, waiting)
    totals = scores.total(pod, feasible, snapshot)
    best = max(totals.values())
    equal = [name for name, total in totals.items() if best - total < 1e-9]
    return Placement(min(equal, key=lambda name: zlib.crc32(f"{seed}/{pod.key}/{name}".encode())), waiting)


def _filter(
    pod: PodInfo, nodes: list[NodeInfo], snapshot: Snapshot, claims: volumes.Claims
) -> tuple[list[NodeInfo], Unschedulable]:
    affinity = inter_pod.examine(pod, snapshot)
    spreads = spread.examine(pod, snapshot, hard=True) if pod.pod.spec.topology_spread_constraints else []
    feasible: list[NodeInfo] = []
    reasons: Counter[str] = Counter()
    objecting: set[str] = set()
    for info in nodes:
        name, found = _objections(pod, info)
        if not found and (claims.bound or claims.waiting):
            name, found = "VolumeBinding", volumes.objections(claims, info, snapshot.storage)
        if not found and spreads:
            name, found = "PodTopologySpread", spread.objections(spreads, info)
        if not found:
            name, found = "InterPodAffinity", inter_pod.objections(affinity, info)
        if found:
            reasons.update(found)
            objecting.add(name)
        else:
            feasible.append(info)
    return feasible, Unschedulable(len(nodes), reasons, frozenset(objecting))


def _objections(pod: PodInfo, info: NodeInfo) -> tuple[str, list[str]]:
    for name, check in FILTERS:
        if found := check(pod, info):
            return name, found
    return "", []
