"""Conditions as statuses hold them: found by type, replaced without losing the moment of their last change."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterable

import msgspec

from pilothouse.kinds.view import Condition, to_tree
from pilothouse.machinery.objects import Obj, timestamp


def find(conditions: Iterable[Condition], type: str) -> Condition | None:
    return next((condition for condition in conditions if condition.type == type), None)


def is_true(conditions: Iterable[Condition], type: str) -> bool:
    condition = find(conditions, type)
    return condition is not None and condition.status == "True"


def with_condition(conditions: list[Condition], new: Condition, now: dt.datetime) -> list[Condition]:
    """The conditions with `new` in its place; `lastTransitionTime` moves only when the status changes."""
    old = find(conditions, new.type)
    keep = old is not None and old.status == new.status and old.last_transition_time
    moment = old.last_transition_time if old is not None and keep else timestamp(now)
    new = msgspec.structs.replace(new, last_transition_time=moment)
    if old is None:
        return [*conditions, new]
    return [new if condition.type == new.type else condition for condition in conditions]


def without(conditions: list[Condition], type: str) -> list[Condition]:
    return [condition for condition in conditions if condition.type != type]


def conditions_tree(conditions: Iterable[Condition]) -> list[Obj] | None:
    """Conditions as a status patch holds them; None when there are none, which removes the field."""
    return [to_tree(condition) for condition in conditions] or None


def with_failure(
    old: list[Condition], failure: tuple[str, str] | None, satisfied: bool, now: dt.datetime
) -> list[Condition]:
    """The conditions with ReplicaFailure as the last pass leaves it: `failure` is reason and message of what was
    refused; without one it stays until the workload is `satisfied`."""
    current = find(old, "ReplicaFailure")
    if failure is not None:
        reason, message = failure
        if current is not None and (current.reason, current.message) == failure:
            return old
        return with_condition(old, Condition(type="ReplicaFailure", status="True", reason=reason, message=message), now)
    return without(old, "ReplicaFailure") if current is not None and satisfied else old
