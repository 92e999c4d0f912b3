"""What every filter and score says of every node, for people who ask why a pod is where it is, or nowhere. Pure."""

from __future__ import annotations

from dataclasses import dataclass, field

from pilothouse.scheduler import inter_pod, scores, spread, volumes
from pilothouse.scheduler.decide import Placement, objections, schedule
from pilothouse.scheduler.pod_info import PodInfo
from pilothouse.scheduler.snapshot import Snapshot


@dataclass(frozen=True, slots=True)
class NodeVerdict:
    """`filter` is the first that objects, "" for none, with its `reasons`; `scores` are weighted, by name."""

    node: str
    filter: str = ""
    reasons: tuple[str, ...] = ()
    scores: dict[str, float] = field(default_factory=dict)

    @property
    def total(self) -> float:
        return sum(self.scores.values())


@dataclass(frozen=True, slots=True)
class Explanation:
    """The nodes that would do, best first, then the others by name; `chosen` is the scheduler's answer, "" for none."""

    chosen: str
    message: str
    verdicts: tuple[NodeVerdict, ...]


def explain(pod: PodInfo, snapshot: Snapshot, *, seed: int = 0) -> Explanation:
    """How the scheduler sees the pod in this snapshot, in which the pod itself should not be placed."""
    claims = volumes.claims_of(pod, snapshot.storage)
    decision = schedule(pod, snapshot, seed=seed)
    if isinstance(decision, Placement):
        chosen, message = decision.node, f"it goes to {decision.node}"
    else:
        chosen, message = "", decision.message
    if claims.problem:
        return Explanation(chosen, message, ())
    affinity = inter_pod.examine(pod, snapshot)
    spreads = spread.examine(pod, snapshot, hard=True)
    feasible, refused = [], []
    with snapshot.with_nominated(pod):
        for info in snapshot.nodes():
            name, reasons = objections(pod, info, claims, snapshot, spreads, affinity)
            if reasons:
                refused.append(NodeVerdict(info.name, name, tuple(reasons)))
            else:
                feasible.append(info)
    parts = {name: (weight, score(pod, feasible, snapshot)) for name, weight, score in scores.SCORES}
    rated = [
        NodeVerdict(
            info.name,
            scores={name: weight * found.get(info.name, 0.0) for name, (weight, found) in parts.items() if found},
        )
        for info in feasible
    ]
    rated.sort(key=lambda verdict: (-verdict.total, verdict.node != chosen, verdict.node))
    return Explanation(chosen, message, (*rated, *refused))
