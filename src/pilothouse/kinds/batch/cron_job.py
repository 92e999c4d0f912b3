"""CronJob: Jobs made on a schedule."""

from __future__ import annotations

from typing import ClassVar

import msgspec

from pilothouse.kinds.batch import schedule as schedules
from pilothouse.kinds.batch.job_rules import check_job_spec, check_template_metadata
from pilothouse.kinds.columns import AGE, NAME, NONE, UNSET, Column, container_columns, field, selector_text, since
from pilothouse.kinds.core.object_reference import ObjectReference
from pilothouse.kinds.core.pod_defaults import default_template
from pilothouse.kinds.kind import Kind
from pilothouse.kinds.problems import Problems, section
from pilothouse.kinds.view import Object, View
from pilothouse.machinery.objects import Obj, Resource

MAX_NAME = 52
"""A Job is named after its CronJob and eleven characters more, and must stay within 63."""
_POLICIES = ("Allow", "Forbid", "Replace")


class CronJobSpec(View):
    """`job_template` is a JobTemplateSpec tree, passed on as it is."""

    schedule: str = ""
    time_zone: str | None = None
    starting_deadline_seconds: int | None = None
    concurrency_policy: str = "Allow"
    suspend: bool = False
    job_template: Obj = {}
    successful_jobs_history_limit: int | None = None
    failed_jobs_history_limit: int | None = None


class CronJobStatus(View):
    active: list[ObjectReference] = []
    last_schedule_time: str | None = None
    last_successful_time: str | None = None


class CronJob(Object):
    resource: ClassVar[Resource] = Resource("batch", "v1", "CronJob", "cronjobs", True)

    spec: CronJobSpec = msgspec.field(default_factory=CronJobSpec)
    status: CronJobStatus = msgspec.field(default_factory=CronJobStatus)


def _defaults(cron_job: Obj) -> None:
    spec = cron_job.setdefault("spec", {})
    spec.setdefault("concurrencyPolicy", "Allow")
    spec.setdefault("suspend", False)
    spec.setdefault("successfulJobsHistoryLimit", 3)
    spec.setdefault("failedJobsHistoryLimit", 1)
    job = spec.setdefault("jobTemplate", {}).setdefault("spec", {})
    default_template(job.setdefault("template", {}))


def _rules(cron_job: Obj, old: Obj | None, problems: Problems) -> None:
    spec = section(cron_job, "spec")
    before = None if old is None else section(old, "spec")
    name = section(cron_job, "metadata").get("name") or ""
    if before is None and len(name) > MAX_NAME:
        problems.invalid("metadata.name", name, f"must be no more than {MAX_NAME} characters")
    if spec == before:
        return
    _check_schedule(spec, before, problems)
    for key in ("startingDeadlineSeconds", "successfulJobsHistoryLimit", "failedJobsHistoryLimit"):
        problems.not_negative(f"spec.{key}", spec.get(key))
    problems.one_of("spec.concurrencyPolicy", spec.get("concurrencyPolicy"), _POLICIES)
    template = section(spec, "jobTemplate")
    # A template once accepted stays acceptable, so that a stricter rule never blocks suspending.
    if before is not None and template == section(before, "jobTemplate"):
        return
    job, path = section(template, "spec"), "spec.jobTemplate.spec"
    check_template_metadata(template, "spec.jobTemplate", problems)
    check_job_spec(job, path, problems)
    if job.get("selector") is not None:
        problems.invalid(f"{path}.selector", job["selector"], "`selector` will be auto-generated")
    if job.get("manualSelector"):
        problems.unsupported(f"{path}.manualSelector", True, ("nil", "false"))


def _check_schedule(spec: Obj, before: Obj | None, problems: Problems) -> None:
    line = spec.get("schedule") or ""
    if not line:
        problems.required("spec.schedule")
    elif "TZ" in line:
        problems.invalid("spec.schedule", line, "cannot use TZ or CRON_TZ in schedule, use timeZone field instead")
    else:
        try:
            schedules.parse(line)
        except ValueError as error:
            problems.invalid("spec.schedule", line, str(error))
    zone = spec.get("timeZone")
    if zone is None or (before is not None and zone == before.get("timeZone")):
        return
    if not zone:
        problems.invalid("spec.timeZone", zone, "timeZone must be nil or non-empty string")
    elif zone.lower() == "local":
        explicit = "timeZone must be an explicit time zone as defined in https://www.iana.org/time-zones"
        problems.invalid("spec.timeZone", zone, explicit)
    else:
        try:
            schedules.zone(zone)
        except ValueError as error:
            problems.invalid("spec.timeZone", zone, str(error))


def _suspended(cron_job: Obj) -> str:
    suspend = section(cron_job, "spec").get("suspend")
    return UNSET if suspend is None else str(bool(suspend))


def _last_schedule(cron_job: Obj) -> str:
    moment = section(cron_job, "status").get("lastScheduleTime")
    return since(moment) if moment else NONE


def _selector(cron_job: Obj) -> str:
    return selector_text(section(section(section(cron_job, "spec"), "jobTemplate"), "spec").get("selector"))


KIND = Kind(
    view=CronJob,
    short_names=("cj",),
    categories=("all",),
    subresources=frozenset({"status"}),
    columns=(
        NAME,
        Column("Schedule", field("spec", "schedule"), "When Jobs are made, as a cron line."),
        Column("Timezone", field("spec", "timeZone", default=NONE), "Time zone of the schedule."),
        Column("Suspend", _suspended, "Whether it makes no Jobs for now.", type="boolean"),
        Column("Active", lambda obj: len(section(obj, "status").get("active") or ()), "Jobs that run.", type="integer"),
        Column("Last Schedule", _last_schedule, "Time since the last Job was due."),
        AGE,
        *container_columns("spec", "jobTemplate", "spec", "template"),
        Column("Selector", _selector, "Pods it looks after.", priority=1),
    ),
    generation_fields=("spec",),
    defaults=_defaults,
    rules=_rules,
)
