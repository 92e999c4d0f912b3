"""What a CronJob needs, decided from one snapshot. Pure."""

from __future__ import annotations

import datetime as dt
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Literal

from pilothouse.controllers.conditions import is_true
from pilothouse.controllers.cron_job.due import due, too_late
from pilothouse.kinds.batch import schedule as schedules
from pilothouse.kinds.batch.cron_job import CronJob
from pilothouse.kinds.batch.job import Job
from pilothouse.kinds.core.object_reference import ObjectReference
from pilothouse.kinds.view import to_tree
from pilothouse.machinery.objects import Obj, timestamp

SCHEDULED_AT = "batch.kubernetes.io/cronjob-scheduled-timestamp"
"""Annotation of a Job: the start it was made for, in the schedule's time zone."""


@dataclass(frozen=True, slots=True)
class Told:
    """An event about the CronJob."""

    type: Literal["Normal", "Warning"]
    reason: str
    message: str


@dataclass(slots=True)
class Plan:
    """What to do: tell, delete, start a Job for `start`, then store `active` and the times if they changed.

    `wait` is in how many seconds to look again.
    """

    active: list[ObjectReference] = field(default_factory=list)
    last_successful: str | None = None
    events: list[Told] = field(default_factory=list)
    expired: list[Job] = field(default_factory=list)
    replaced: list[Job] = field(default_factory=list)
    start: dt.datetime | None = None
    wait: float | None = None


def decide(cron_job: CronJob, jobs: Sequence[Job], now: dt.datetime) -> Plan:
    """The plan for `cron_job` and the Jobs it owns."""
    plan = Plan(last_successful=cron_job.status.last_successful_time)
    _look_at_jobs(cron_job, jobs, plan)
    plan.expired = _expired(cron_job, jobs)
    if cron_job.metadata.deletion_timestamp is not None or cron_job.spec.suspend:
        return plan
    try:
        schedules.zone(cron_job.spec.time_zone)
    except ValueError as error:
        plan.events.append(
            Told("Warning", "UnknownTimeZone", f'invalid timeZone: "{cron_job.spec.time_zone}": {error}')
        )
        return plan
    try:
        found = due(cron_job, now)
    except ValueError as error:
        message = f'unparseable schedule: "{cron_job.spec.schedule}" : {error}'
        plan.events.append(Told("Warning", "UnparseableSchedule", message))
        return plan
    if found.next is None:
        message = f'the schedule "{cron_job.spec.schedule}" has no start within the next five years'
        plan.events.append(Told("Warning", "NeverScheduled", message))
    else:
        plan.wait = max(0.0, (found.next - now).total_seconds())
    if found.many_missed:
        hint = "Set or decrease .spec.startingDeadlineSeconds or check clock skew"
        plan.events.append(Told("Warning", "TooManyMissedTimes", f"too many missed start times. {hint}"))
    if found.start is not None:
        _start(cron_job, jobs, found.start, plan, now)
    return plan


def _start(cron_job: CronJob, jobs: Sequence[Job], start: dt.datetime, plan: Plan, now: dt.datetime) -> None:
    if too_late(cron_job, start, now):
        moment = start.strftime("%a, %d %b %Y %H:%M:%S +0000")
        plan.events.append(Told("Warning", "MissSchedule", f"Missed scheduled time to start a job: {moment}"))
        return
    if any(job.name == job_name(cron_job, start) for job in jobs):
        # Made, but the status was not written any more: making it again is refused, and then it is.
        plan.start = start
        return
    policy = cron_job.spec.concurrency_policy
    if policy == "Forbid" and plan.active:
        message = "Not starting job because prior execution is running and concurrency policy is Forbid"
        plan.events.append(Told("Normal", "JobAlreadyActive", message))
        return
    if policy == "Replace":
        uids = {ref.uid for ref in plan.active}
        plan.replaced = [job for job in jobs if job.metadata.uid in uids]
        plan.active = []
    plan.start = start


def _look_at_jobs(cron_job: CronJob, jobs: Sequence[Job], plan: Plan) -> None:
    """Which Jobs are active, from the Jobs themselves; and the news since the status was written."""
    listed = {ref.uid: ref for ref in cron_job.status.active}
    for job in jobs:
        uid, end = job.metadata.uid, finished(job)
        if end == "Complete" and job.status.completion_time:
            plan.last_successful = max(plan.last_successful or "", job.status.completion_time)
        if uid in listed and end:
            plan.events.append(Told("Normal", "SawCompletedJob", f"Saw completed job: {job.name}, condition: {end}"))
        elif (
            uid not in listed
            and not end
            and job.metadata.deletion_timestamp is None
            and SCHEDULED_AT not in (job.metadata.annotations)
        ):
            unexpected = f"Saw a job that the controller did not create or forgot: {job.name}"
            plan.events.append(Told("Warning", "UnexpectedJob", unexpected))
        if not end and (uid in listed or SCHEDULED_AT in job.metadata.annotations):
            plan.active.append(reference(job))
    seen = {job.metadata.uid for job in jobs}
    for uid, ref in listed.items():
        if uid not in seen:
            plan.events.append(Told("Normal", "MissingJob", f"Active job went missing: {ref.name}"))


def finished(job: Job) -> str:
    """`Complete`, `Failed`, or "" while it goes on."""
    return next((type for type in ("Complete", "Failed") if is_true(job.status.conditions, type)), "")


def reference(job: Job) -> ObjectReference:
    meta = job.metadata
    return ObjectReference(
        api_version=job.resource.api_version,
        kind=job.resource.kind,
        namespace=meta.namespace,
        name=meta.name,
        uid=meta.uid,
    )


def _expired(cron_job: CronJob, jobs: Sequence[Job]) -> list[Job]:
    """Finished Jobs beyond the history limits, oldest first."""
    expired: list[Job] = []
    limits = (
        ("Complete", cron_job.spec.successful_jobs_history_limit),
        ("Failed", cron_job.spec.failed_jobs_history_limit),
    )
    for end, limit in limits:
        if limit is None:
            continue
        ended = [job for job in jobs if finished(job) == end and job.metadata.deletion_timestamp is None]
        ended.sort(key=lambda job: (job.status.start_time or "", job.name))
        expired += ended[: max(0, len(ended) - limit)]
    return expired


def job_name(cron_job: CronJob, start: dt.datetime) -> str:
    """The same for the same start, so that no start is made twice (upstream's rule: minutes since 1970)."""
    return f"{cron_job.name}-{int(start.timestamp()) // 60}"


def job_tree(cron_job: CronJob, start: dt.datetime) -> Obj:
    """The Job for one start. Raises ValueError for a time zone that cannot be read."""
    template = cron_job.spec.job_template
    meta = template.get("metadata") or {}
    local = start.astimezone(schedules.zone(cron_job.spec.time_zone))
    moment = timestamp(start) if cron_job.spec.time_zone is None else local.isoformat()
    metadata: Obj = {
        "name": job_name(cron_job, start),
        "annotations": {**(meta.get("annotations") or {}), SCHEDULED_AT: moment},
        "ownerReferences": [to_tree(cron_job.as_owner())],
    }
    if meta.get("labels"):
        metadata["labels"] = meta["labels"]
    return {"metadata": metadata, "spec": template.get("spec") or {}}


def status(cron_job: CronJob, plan: Plan, scheduled: dt.datetime | None) -> Obj:
    """The status patch, empty when nothing changes; `scheduled` is the start that has been made in this pass."""
    old = cron_job.status
    patch: Obj = {}
    if [ref.uid for ref in plan.active] != [ref.uid for ref in old.active]:
        patch["active"] = [to_tree(ref) for ref in plan.active] or None
    if plan.last_successful != old.last_successful_time:
        patch["lastSuccessfulTime"] = plan.last_successful
    if scheduled is not None and timestamp(scheduled) != old.last_schedule_time:
        patch["lastScheduleTime"] = timestamp(scheduled)
    return patch
