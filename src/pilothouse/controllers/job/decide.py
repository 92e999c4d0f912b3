"""What a Job needs, decided from one snapshot. Pure."""

from __future__ import annotations

import datetime as dt
from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from typing import Literal

import msgspec

from pilothouse.controllers.conditions import conditions_tree, is_true, with_condition
from pilothouse.controllers.job.account import Account, account
from pilothouse.controllers.job.pods import is_terminating, is_tracked
from pilothouse.controllers.job.scale import NewPod, scale
from pilothouse.controllers.job.verdict import (
    REACHED,
    SUCCESS,
    Verdict,
    deadline_in,
    is_finished,
    settled_verdict,
    verdict,
)
from pilothouse.controllers.pods import is_active, is_ready
from pilothouse.kinds.batch.indexes import format_indexes
from pilothouse.kinds.batch.job import Job
from pilothouse.kinds.core.pod import Pod
from pilothouse.kinds.view import Condition
from pilothouse.machinery.objects import Obj, timestamp


@dataclass(frozen=True, slots=True)
class Told:
    """An event about the Job."""

    type: Literal["Normal", "Warning"]
    reason: str
    message: str


@dataclass(slots=True)
class Plan:
    """What to do, in this order: `status` must be stored before anything else is done, or none of it may be.

    `discard` are pods that are no longer wanted and do not count; `delete` are those of a Job that ends, whose end is
    counted; `release` lose the tracking finalizer; `track` get it (back).
    """

    status: Obj = field(default_factory=dict)
    events: list[Told] = field(default_factory=list)
    track: list[Pod] = field(default_factory=list)
    release: list[Pod] = field(default_factory=list)
    discard: list[Pod] = field(default_factory=list)
    delete: list[Pod] = field(default_factory=list)
    create: list[NewPod] = field(default_factory=list)
    wait: float | None = None


def decide(job: Job, pods: Sequence[Pod], released: Collection[str], now: dt.datetime, *, may_scale: bool) -> Plan:
    """The plan for `job` and the pods it owns.

    `released` are uids of pods whose finalizer was removed already; `may_scale` is False while pods made or deleted
    before are not yet seen.
    """
    tracked = [pod for pod in pods if is_tracked(pod) and pod.metadata.uid not in released]
    if is_finished(job):
        return Plan(release=tracked)
    plan = Plan()
    deleting = job.metadata.deletion_timestamp is not None
    job, changes = _begun(job, now)
    known = settled_verdict(job)
    told = account(job, pods, released, finishing=known is not None or deleting)
    found = known or verdict(job, pods, told, now)
    if found is not None and known is None and told.waiting:
        # Pods held back for their replacements are counted now: there will be none.
        told = account(job, pods, released, finishing=True)
    active = [pod for pod in pods if is_active(pod)]
    if found is not None:
        plan.delete = active
        active = []
    elif may_scale and not deleting:
        scaled = scale(job, pods, told, now)
        plan.discard, plan.create, plan.wait = scaled.delete, scaled.create, scaled.wait
        plan.track = [pod for pod in active if not is_tracked(pod) and pod not in plan.discard]
        left = len(active) - len(plan.discard)
        found = REACHED if not plan.create and _reached(job, told, left) else None
    plan.release = tracked if deleting else told.release
    ended = _end(job, found, told, plan, pods) if may_scale else False
    if found is None and not deleting:
        _suspension(job, plan)
    _status(job, pods, told, found, ended, changes, plan, now)
    left_seconds = deadline_in(job, now)
    if left_seconds is not None and found is None:
        plan.wait = left_seconds if plan.wait is None else min(plan.wait, left_seconds)
    return plan


def _begun(job: Job, now: dt.datetime) -> tuple[Job, Obj]:
    """The Job with the time at which it starts or goes on, where that is now, and what the status is to say of it."""
    resumed = is_true(job.status.conditions, "Suspended")
    if job.spec.suspend or (job.status.start_time is not None and not resumed):
        return job, {}
    start = timestamp(now)
    status = msgspec.structs.replace(job.status, start_time=start)
    return msgspec.structs.replace(job, status=status), {"startTime": start}


def _reached(job: Job, told: Account, active: int) -> bool:
    if active:
        return False
    return told.succeeded > 0 if job.spec.completions is None else told.succeeded >= job.spec.completions


def _end(job: Job, found: Verdict | None, told: Account, plan: Plan, pods: Sequence[Pod]) -> bool:
    """True when the last pod has ended and every end is in a counter."""
    busy = plan.delete or plan.discard or any(is_terminating(pod) for pod in pods)
    return found is not None and told.settled and not plan.release and not busy


def _suspension(job: Job, plan: Plan) -> None:
    suspended = is_true(job.status.conditions, "Suspended")
    if job.spec.suspend and not suspended:
        plan.events.append(Told("Normal", "Suspended", "Job suspended"))
    elif suspended and not job.spec.suspend:
        plan.events.append(Told("Normal", "Resumed", "Job resumed"))


def _status(
    job: Job,
    pods: Sequence[Pod],
    told: Account,
    found: Verdict | None,
    ended: bool,
    changes: Obj,
    plan: Plan,
    now: dt.datetime,
) -> None:
    old = job.status
    active = [pod for pod in pods if is_active(pod)]
    fresh: Obj = {
        "active": len(active),
        "ready": sum(is_ready(pod) for pod in active),
        "terminating": sum(is_terminating(pod) for pod in pods),
        "succeeded": told.counted_succeeded,
        "failed": told.counted_failed,
        "completedIndexes": format_indexes(told.completed),
    }
    before = {
        "active": old.active,
        "ready": old.ready,
        "terminating": old.terminating,
        "succeeded": old.succeeded,
        "failed": old.failed,
        "completedIndexes": old.completed_indexes,
    }
    if job.spec.backoff_limit_per_index is not None:
        fresh["failedIndexes"] = format_indexes(told.failed_indexes)
        before["failedIndexes"] = old.failed_indexes
    for key, value in fresh.items():
        if value != before[key]:
            # Upstream leaves out what is zero, but not the counts that may be unknown.
            changes[key] = value if value or key in ("ready", "terminating", "failedIndexes") else None
    uncounted = old.uncounted_terminated_pods
    listed = (told.uncounted_succeeded, told.uncounted_failed)
    if uncounted is None or listed != (uncounted.succeeded, uncounted.failed):
        changes["uncountedTerminatedPods"] = {"succeeded": listed[0] or None, "failed": listed[1] or None}
    conditions = _conditions(job, found, ended, plan, now)
    if conditions != old.conditions:
        changes["conditions"] = conditions_tree(conditions)
    if ended and found is not None and found.type == SUCCESS:
        changes["completionTime"] = timestamp(now)
    plan.status = changes


def _conditions(job: Job, found: Verdict | None, ended: bool, plan: Plan, now: dt.datetime) -> list[Condition]:
    conditions = job.status.conditions
    for event in plan.events:
        suspended = event.reason == "Suspended"
        conditions = _with(
            conditions,
            "Suspended",
            "True" if suspended else "False",
            "JobSuspended" if suspended else "JobResumed",
            event.message,
            now,
        )
    if found is None:
        return conditions
    if not is_true(conditions, found.type):
        conditions = _with(conditions, found.type, "True", found.reason, found.message, now)
    if ended:
        success = found.type == SUCCESS
        last = "Complete" if success else "Failed"
        conditions = _with(conditions, last, "True", found.reason, found.message, now)
        plan.events.append(
            Told("Normal", "Completed", "Job completed") if success else Told("Warning", found.reason, found.message)
        )
    return conditions


def _with(
    conditions: list[Condition], type: str, status: str, reason: str, message: str, now: dt.datetime
) -> list[Condition]:
    new = Condition(type=type, status=status, reason=reason, message=message, last_probe_time=timestamp(now))
    return with_condition(conditions, new, now)
