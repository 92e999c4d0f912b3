"""What a ReplicaSet needs, decided from one snapshot. Pure."""

from __future__ import annotations

import datetime as dt
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field

from pilothouse.controllers.conditions import conditions_tree, with_failure
from pilothouse.controllers.ownership import Claim, claim
from pilothouse.controllers.pods import available_in, is_active, is_ready, is_terminating, ready_since
from pilothouse.kinds.apps.replica_set import ReplicaSet
from pilothouse.kinds.core.pod import Pod
from pilothouse.machinery.objects import Obj

BURST = 500
"""Most pods made or deleted in one pass."""
_DELETION_COST = "controller.kubernetes.io/pod-deletion-cost"
_PHASES = {"Pending": 0, "Unknown": 1, "Running": 2}


@dataclass(frozen=True, slots=True)
class Plan:
    """What to do, in this order. `active` are the pods the status is computed from, `terminating` those being deleted
    that have not ended."""

    claimed: Claim[Pod]
    active: list[Pod]
    terminating: int
    create: int = 0
    delete: list[Pod] = field(default_factory=list)


def decide(replica_set: ReplicaSet, pods: Sequence[Pod], *, may_scale: bool = True) -> Plan:
    """The plan for `replica_set`; `pods` are those it controls and the namespace's pods without a controller.

    `may_scale` is False while pods made or deleted before are not yet seen: then only ownership is decided.
    """
    claimed = claim(replica_set, replica_set.spec.selector, pods, is_active)
    deleting = replica_set.metadata.deletion_timestamp is not None
    active = [pod for pod in claimed.owned if is_active(pod)]
    terminating = sum(is_terminating(pod) for pod in claimed.owned)
    if deleting or not may_scale:
        return Plan(claimed, active, terminating)
    missing = wanted(replica_set) - len(active)
    delete = _victims(active, -missing) if missing < 0 else []
    return Plan(claimed, active, terminating, min(max(missing, 0), BURST), delete[:BURST])


def wanted(replica_set: ReplicaSet) -> int:
    replicas = replica_set.spec.replicas
    return 1 if replicas is None else replicas


def _victims(active: list[Pod], count: int) -> list[Pod]:
    """The `count` pods that are missed least (order as upstream's ActivePodsWithRanks)."""
    crowd = Counter(pod.spec.node_name for pod in active if pod.spec.node_name)

    def rank(pod: Pod) -> tuple[object, ...]:
        since = ready_since(pod)
        ready = is_ready(pod)
        restarts = max((status.restart_count for status in pod.status.container_statuses), default=0)
        return (
            bool(pod.spec.node_name),
            _PHASES.get(pod.status.phase or "Pending", 1),
            ready,
            _deletion_cost(pod),
            -crowd.get(pod.spec.node_name, 0),
            # Ready for a shorter time goes first, then more restarts, then younger.
            -since.timestamp() if since else 0.0,
            -restarts,
            _descending(pod.metadata.creation_timestamp or ""),
            pod.metadata.name,
        )

    return sorted(active, key=rank)[:count]


def _deletion_cost(pod: Pod) -> int:
    try:
        return int(pod.metadata.annotations.get(_DELETION_COST, "0"))
    except ValueError:
        return 0


def _descending(text: str) -> tuple[int, ...]:
    return tuple(-ord(char) for char in text)


def status(
    replica_set: ReplicaSet,
    active: Sequence[Pod],
    failure: tuple[str, str] | None,
    now: dt.datetime,
    *,
    seen: bool = True,
    terminating: int | None = None,
) -> tuple[Obj, float | None]:
    """The status patch (empty when nothing changes), and in how many seconds a ready pod becomes available.

    `failure` is reason and message of the last create or delete that failed in this pass. With `seen` False, `active`
    does not show yet what was made or deleted before, and the generation does not count as observed. `terminating` is
    None for kinds whose status has no such field.
    """
    observed = replica_set.metadata.generation if seen else replica_set.status.observed_generation
    min_ready = replica_set.spec.min_ready_seconds
    template_labels = (replica_set.spec.template.get("metadata") or {}).get("labels") or {}
    waits = [wait for pod in active if (wait := available_in(pod, min_ready, now)) is not None]
    counts = {
        "replicas": len(active),
        "fullyLabeledReplicas": sum(template_labels.items() <= pod.metadata.labels.items() for pod in active),
        "readyReplicas": len(waits),
        "availableReplicas": sum(wait == 0 for wait in waits),
    }
    old = replica_set.status
    conditions = with_failure(old.conditions, failure, len(active) == wanted(replica_set), now)
    before = (
        old.replicas,
        old.fully_labeled_replicas,
        old.ready_replicas,
        old.available_replicas,
        old.observed_generation,
    )
    after = (*counts.values(), observed)
    patch: Obj = {}
    if before != after:
        patch = {key: value or None for key, value in counts.items()}
        patch["replicas"] = counts["replicas"]
        patch["observedGeneration"] = observed
    if terminating != old.terminating_replicas:
        patch["terminatingReplicas"] = terminating
    if conditions != old.conditions:
        patch["conditions"] = conditions_tree(conditions)
    pending = [wait for wait in waits if wait > 0]
    return patch, min(pending) if pending else None
