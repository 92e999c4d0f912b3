"""A Deployment's status: counts, and the conditions kubectl and helm wait on. Pure.

Reasons and messages are upstream's, `kubectl rollout status` reads them.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Sequence
from dataclasses import dataclass

import msgspec

from pilothouse.controllers.conditions import conditions_tree, find, with_condition, without
from pilothouse.controllers.deployment.annotations import bounds, set_size, size
from pilothouse.kinds.apps.deployment import Deployment, DeploymentStatus
from pilothouse.kinds.apps.replica_set import ReplicaSet
from pilothouse.kinds.view import Condition
from pilothouse.machinery.objects import Obj, parse_timestamp, timestamp

_COMPLETE = "NewReplicaSetAvailable"
_TIMED_OUT = "ProgressDeadlineExceeded"
_PAUSED = "DeploymentPaused"
_RESUMED = "DeploymentResumed"
_NO_DEADLINE = 2**31 - 1


@dataclass(frozen=True, slots=True)
class Rollout:
    """What the status is computed from. `note` is the Progressing condition's (reason, message) of this step's act."""

    deployment: Deployment
    new: ReplicaSet | None
    old: Sequence[ReplicaSet]
    now: dt.datetime
    collisions: int | None = None
    note: tuple[str, str] | None = None
    progressing: bool = True
    """False while only scaling or paused: the Progressing condition is left alone."""


def status_of(rollout: Rollout) -> tuple[Obj, float | None]:
    """The status patch (empty when nothing changes), and the seconds until the progress deadline is to be checked."""
    deployment, old = rollout.deployment, rollout.deployment.status
    new = _counts(rollout)
    conditions = _availability(rollout, new, old.conditions)
    again = None
    if not _has_deadline(deployment):
        conditions = without(conditions, "Progressing")
    elif deployment.metadata.deletion_timestamp is None:
        conditions = _pause(rollout, conditions)
        if rollout.progressing:
            conditions, again = _progress(rollout, new, conditions)
    conditions = _failures(rollout, conditions)
    new = msgspec.structs.replace(new, conditions=conditions)
    if new == old:
        return {}, again
    patch: Obj = {
        "observedGeneration": new.observed_generation,
        "replicas": new.replicas or None,
        "updatedReplicas": new.updated_replicas or None,
        "readyReplicas": new.ready_replicas or None,
        "availableReplicas": new.available_replicas or None,
        "unavailableReplicas": new.unavailable_replicas or None,
    }
    if new.terminating_replicas != old.terminating_replicas:
        patch["terminatingReplicas"] = new.terminating_replicas
    if new.collision_count != old.collision_count:
        patch["collisionCount"] = new.collision_count
    if conditions != old.conditions:
        patch["conditions"] = conditions_tree(conditions)
    return patch, again


def _counts(rollout: Rollout) -> DeploymentStatus:
    sets = [*rollout.old, *([rollout.new] if rollout.new else [])]
    available = sum(rs.status.available_replicas for rs in sets)
    total = sum(set_size(rs) for rs in sets)
    old = rollout.deployment.status
    return msgspec.structs.replace(
        old,
        observed_generation=rollout.deployment.metadata.generation,
        replicas=sum(rs.status.replicas for rs in sets),
        updated_replicas=rollout.new.status.replicas if rollout.new else 0,
        ready_replicas=sum(rs.status.ready_replicas for rs in sets),
        available_replicas=available,
        unavailable_replicas=max(0, total - available),
        terminating_replicas=_terminating(sets, old.terminating_replicas),
        collision_count=rollout.collisions if rollout.collisions is not None else old.collision_count,
    )


def _terminating(sets: Sequence[ReplicaSet], before: int | None) -> int | None:
    """Pods of all sets that are being deleted; what was known `before` while one, just made, has not said."""
    counts = [rs.status.terminating_replicas for rs in sets]
    known = [count for count in counts if count is not None]
    return sum(known) if len(known) == len(counts) else before


def _availability(rollout: Rollout, new: DeploymentStatus, conditions: list[Condition]) -> list[Condition]:
    least = size(rollout.deployment) - bounds(rollout.deployment)[1]
    if new.available_replicas >= least:
        return _set(
            conditions,
            "Available",
            "True",
            "MinimumReplicasAvailable",
            "Deployment has minimum availability.",
            rollout.now,
        )
    return _set(
        conditions,
        "Available",
        "False",
        "MinimumReplicasUnavailable",
        "Deployment does not have minimum availability.",
        rollout.now,
    )


def _set(
    conditions: list[Condition], type: str, status: str, reason: str, message: str, now: dt.datetime
) -> list[Condition]:
    """Replaces a condition unless status and reason stay; `lastUpdateTime` is when it was last replaced."""
    current = find(conditions, type)
    if current is not None and (current.status, current.reason) == (status, reason):
        return conditions
    return _renew(conditions, type, status, reason, message, now)


def _renew(
    conditions: list[Condition], type: str, status: str, reason: str, message: str, now: dt.datetime
) -> list[Condition]:
    condition = Condition(type=type, status=status, reason=reason, message=message, last_update_time=timestamp(now))
    return with_condition(conditions, condition, now)


def _has_deadline(deployment: Deployment) -> bool:
    deadline = deployment.spec.progress_deadline_seconds
    return deadline is None or deadline != _NO_DEADLINE


def _deadline(deployment: Deployment) -> int:
    deadline = deployment.spec.progress_deadline_seconds
    return 600 if deadline is None else deadline


def _pause(rollout: Rollout, conditions: list[Condition]) -> list[Condition]:
    """Says that a rollout is paused, so that the deadline does not run meanwhile."""
    current = find(conditions, "Progressing")
    if current is not None and current.reason == _TIMED_OUT:
        return conditions
    paused = current is not None and current.reason == _PAUSED
    if rollout.deployment.spec.paused and not paused:
        return _set(conditions, "Progressing", "Unknown", _PAUSED, "Deployment is paused", rollout.now)
    if not rollout.deployment.spec.paused and paused:
        return _set(conditions, "Progressing", "Unknown", _RESUMED, "Deployment is resumed", rollout.now)
    return conditions


def _progress(
    rollout: Rollout, new: DeploymentStatus, conditions: list[Condition]
) -> tuple[list[Condition], float | None]:
    deployment, now = rollout.deployment, rollout.now
    if rollout.note is not None:
        conditions = _set(conditions, "Progressing", "True", *rollout.note, now)
    current = find(conditions, "Progressing")
    subject = f'ReplicaSet "{rollout.new.name}"' if rollout.new else f'Deployment "{deployment.name}"'
    settled = new.replicas == new.updated_replicas and current is not None and current.reason == _COMPLETE
    if not settled:
        if _complete(deployment, new):
            message = f"{subject} has successfully progressed."
            conditions = _set(conditions, "Progressing", "True", _COMPLETE, message, now)
        elif _progressing(deployment.status, new):
            message = f"{subject} is progressing."
            conditions = _renew(conditions, "Progressing", "True", "ReplicaSetUpdated", message, now)
        elif current is not None and _remaining(current, deployment, now) <= 0:
            message = f"{subject} has timed out progressing."
            conditions = _set(conditions, "Progressing", "False", _TIMED_OUT, message, now)
    current = find(conditions, "Progressing")
    if current is None or current.reason in (_COMPLETE, _TIMED_OUT) or _complete(deployment, new):
        return conditions, None
    return conditions, max(1.0, _remaining(current, deployment, now) + 1)


def _remaining(current: Condition, deployment: Deployment, now: dt.datetime) -> float:
    """Seconds left before the deadline; 0 if it is over already, endless once complete."""
    if current.reason == _COMPLETE:
        return float("inf")
    if current.reason == _TIMED_OUT:
        return 0.0
    since = current.last_update_time or current.last_transition_time
    if not since:
        return float(_deadline(deployment))
    return _deadline(deployment) - (now - parse_timestamp(since)).total_seconds()


def _complete(deployment: Deployment, new: DeploymentStatus) -> bool:
    wanted = size(deployment)
    return new.updated_replicas == wanted and new.replicas == wanted and new.available_replicas == wanted


def complete(deployment: Deployment) -> bool:
    """True when the status says that the rollout is over."""
    return _complete(deployment, deployment.status)


def _progressing(old: DeploymentStatus, new: DeploymentStatus) -> bool:
    return (
        new.updated_replicas > old.updated_replicas
        or new.replicas - new.updated_replicas < old.replicas - old.updated_replicas
        or new.ready_replicas > old.ready_replicas
        or new.available_replicas > old.available_replicas
    )


def _failures(rollout: Rollout, conditions: list[Condition]) -> list[Condition]:
    """Carries a ReplicaSet's failure (a quota, a refused pod) up to where people look."""
    sets = [*([rollout.new] if rollout.new else []), *rollout.old]
    found = next((c for rs in sets if (c := find(rs.status.conditions, "ReplicaFailure")) is not None), None)
    if found is None:
        return without(conditions, "ReplicaFailure")
    current = find(conditions, "ReplicaFailure")
    if current is not None and (current.reason, current.message) == (found.reason, found.message):
        return conditions
    return _renew(conditions, "ReplicaFailure", found.status, found.reason, found.message, rollout.now)
