"""CronJobs: what is due, what is too late, what runs already, and what is kept."""

from __future__ import annotations

import datetime as dt
from typing import Any

import msgspec
import pytest

from pilothouse.controllers.cron_job.decide import Plan, decide, job_name, job_tree, status
from pilothouse.controllers.cron_job.due import due
from pilothouse.kinds.batch.cron_job import CronJob
from pilothouse.kinds.batch.job import Job

NOW = dt.datetime(2026, 1, 1, 12, 0, 30, tzinfo=dt.UTC)


def cron_job(last: str = "2026-01-01T11:59:00Z", active: list[dict[str, str]] | None = None, **spec: Any) -> CronJob:
    tree = {
        "metadata": {"name": "tick", "namespace": "shop", "uid": "c", "creationTimestamp": "2026-01-01T00:00:00Z"},
        "spec": {
            "schedule": "* * * * *",
            "jobTemplate": {"metadata": {"labels": {"a": "b"}}, "spec": {"x": 1}},
            **spec,
        },
        "status": {"lastScheduleTime": last, "active": active or []},
    }
    return msgspec.convert(tree, CronJob)


def job(name: str, end: str = "", **status: Any) -> Job:
    conditions = [{"type": end, "status": "True"}] if end else []
    annotations = {"batch.kubernetes.io/cronjob-scheduled-timestamp": "2026-01-01T11:00:00Z"}
    meta = {"name": name, "namespace": "shop", "uid": name, "annotations": annotations}
    return msgspec.convert({"metadata": meta, "status": {"conditions": conditions, **status}}, Job)


def reasons(plan: Plan) -> list[str]:
    return [event.reason for event in plan.events]


def test_what_is_due_is_started_under_a_name_of_its_own() -> None:
    plan = decide(cron_job(), [], NOW)
    assert plan.start == NOW.replace(second=0)
    assert plan.wait == 30
    tree = job_tree(cron_job(), plan.start)
    assert tree["metadata"]["name"] == "tick-29454480" == job_name(cron_job(), plan.start)
    assert tree["metadata"]["labels"] == {"a": "b"}
    assert tree["spec"] == {"x": 1}
    assert status(cron_job(), plan, plan.start) == {"lastScheduleTime": "2026-01-01T12:00:00Z"}


def test_nothing_is_due_twice() -> None:
    plan = decide(cron_job(last="2026-01-01T12:00:00Z"), [], NOW)
    assert (plan.start, plan.wait, plan.events) == (None, 30, [])


def test_a_start_whose_note_was_lost_is_noted() -> None:
    running = job("tick-29454480")
    plan = decide(cron_job(concurrencyPolicy="Forbid"), [running], NOW)
    assert plan.start == NOW.replace(second=0)
    assert [ref.name for ref in plan.active] == ["tick-29454480"]


@pytest.mark.parametrize(
    ("policy", "starts", "replaced", "events"),
    [("Allow", True, [], []), ("Forbid", False, [], ["JobAlreadyActive"]), ("Replace", True, ["old"], [])],
)
def test_concurrency(policy: str, starts: bool, replaced: list[str], events: list[str]) -> None:
    plan = decide(cron_job(active=[{"name": "old", "uid": "old"}], concurrencyPolicy=policy), [job("old")], NOW)
    assert (plan.start is not None, [j.name for j in plan.replaced], reasons(plan)) == (starts, replaced, events)


def test_a_start_past_its_deadline_is_missed() -> None:
    plan = decide(cron_job(schedule="0 * * * *", last="2026-01-01T11:00:00Z", startingDeadlineSeconds=40), [], NOW)
    assert plan.start == NOW.replace(second=0)
    plan = decide(cron_job(schedule="0 * * * *", last="2026-01-01T11:00:00Z", startingDeadlineSeconds=20), [], NOW)
    assert plan.start is None
    assert plan.wait == 3570


def test_many_missed_starts_are_told_and_the_latest_is_made() -> None:
    plan = decide(cron_job(last="2026-01-01T01:00:00Z"), [], NOW)
    assert plan.start == NOW.replace(second=0)
    assert reasons(plan) == ["TooManyMissedTimes"]
    assert reasons(decide(cron_job(last="2026-01-01T11:00:00Z"), [], NOW)) == []


@pytest.mark.parametrize(
    ("spec", "reason"),
    [
        ({"schedule": "* *"}, "UnparseableSchedule"),
        ({"timeZone": "Mars/Olympus"}, "UnknownTimeZone"),
        ({"schedule": "0 0 30 2 *"}, "NeverScheduled"),
    ],
)
def test_what_cannot_start_is_told(spec: dict[str, Any], reason: str) -> None:
    plan = decide(cron_job(**spec), [], NOW)
    assert (plan.start, plan.wait, reasons(plan)) == (None, None, [reason])


def test_a_suspended_one_starts_nothing() -> None:
    assert decide(cron_job(suspend=True), [], NOW).start is None


def test_finished_jobs_are_seen_and_the_oldest_go() -> None:
    jobs = [
        job(f"d{hour}", "Complete", startTime=f"2026-01-01T0{hour}:00:00Z", completionTime=f"2026-01-01T0{hour}:01:00Z")
        for hour in range(4)
    ]
    jobs.append(job("f", "Failed"))
    made = cron_job(
        active=[{"name": "d3", "uid": "d3"}, {"name": "lost", "uid": "lost"}],
        successfulJobsHistoryLimit=2,
        failedJobsHistoryLimit=1,
    )
    plan = decide(made, jobs, NOW)
    assert [expired.name for expired in plan.expired] == ["d0", "d1"]
    assert plan.last_successful == "2026-01-01T03:01:00Z"
    assert reasons(plan) == ["SawCompletedJob", "MissingJob"]
    assert status(made, plan, None) == {"active": None, "lastSuccessfulTime": "2026-01-01T03:01:00Z"}


def test_the_latest_of_irregular_starts_is_found() -> None:
    found = due(cron_job(schedule="0,1 0,12 * * *", last="2025-12-01T00:00:00Z"), NOW + dt.timedelta(minutes=5))
    assert found.start == dt.datetime(2026, 1, 1, 12, 1, tzinfo=dt.UTC)
    assert found.next == dt.datetime(2026, 1, 2, 0, 0, tzinfo=dt.UTC)
