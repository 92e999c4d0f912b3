"""A StatefulSet's status, as `kubectl rollout status` reads it. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from pilothouse.controllers.revisions import HASH
from pilothouse.kinds.apps.stateful_set import StatefulSet
from pilothouse.kinds.core.pod import Pod
from pilothouse.machinery.objects import Obj

_ALWAYS = ("observedGeneration", "replicas", "availableReplicas")
"""Fields that upstream writes even when they are zero."""


@dataclass(frozen=True, slots=True)
class Counted:
    """`waits` are, for each pod, the seconds until it is available, None while it is not ready."""

    pods: Sequence[Pod]
    waits: Sequence[float | None]
    current: str
    update: str


def status_of(stateful_set: StatefulSet, counted: Counted) -> Obj:
    """The status patch, empty when nothing changes."""
    revisions = [pod.metadata.labels.get(HASH) for pod in counted.pods if pod.metadata.deletion_timestamp is None]
    new: Obj = {
        "observedGeneration": stateful_set.metadata.generation,
        "replicas": len(counted.pods),
        "readyReplicas": sum(wait is not None for wait in counted.waits),
        "availableReplicas": sum(wait == 0 for wait in counted.waits),
        "currentReplicas": revisions.count(counted.current),
        "updatedReplicas": revisions.count(counted.update),
        "currentRevision": counted.current,
        "updateRevision": counted.update,
    }
    rolls = stateful_set.spec.update_strategy.type == "RollingUpdate"
    if rolls and new["updatedReplicas"] == new["replicas"] == new["readyReplicas"]:
        new["currentReplicas"], new["currentRevision"] = new["updatedReplicas"], counted.update
    old = stateful_set.status
    before = {
        "observedGeneration": old.observed_generation,
        "replicas": old.replicas,
        "readyReplicas": old.ready_replicas,
        "availableReplicas": old.available_replicas,
        "currentReplicas": old.current_replicas,
        "updatedReplicas": old.updated_replicas,
        "currentRevision": old.current_revision,
        "updateRevision": old.update_revision,
    }
    if new == before:
        return {}
    return {key: value if value or key in _ALWAYS else None for key, value in new.items()}
