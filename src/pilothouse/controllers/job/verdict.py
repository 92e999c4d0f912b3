"""Whether a Job has failed or reached what it was made for. Pure."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from pilothouse.controllers.conditions import find, is_true
from pilothouse.controllers.job.account import Account
from pilothouse.controllers.job.pods import has_failed, is_tracked, judge, restarts
from pilothouse.kinds.batch.indexes import parse_indexes
from pilothouse.kinds.batch.job import Job, SuccessPolicyRule
from pilothouse.kinds.core.pod import Pod
from pilothouse.machinery.objects import parse_timestamp

FAILURE, SUCCESS = "FailureTarget", "SuccessCriteriaMet"
"""Interim conditions: what follows is settled, pods are still ending."""


@dataclass(frozen=True, slots=True)
class Verdict:
    type: str
    reason: str
    message: str


REACHED = Verdict(SUCCESS, "CompletionsReached", "Reached expected number of succeeded pods")


def settled_verdict(job: Job) -> Verdict | None:
    """A verdict stored before; it is final."""
    for type in (FAILURE, SUCCESS):
        found = find(job.status.conditions, type)
        if found is not None and found.status == "True":
            return Verdict(type, found.reason, found.message)
    return None


def is_finished(job: Job) -> bool:
    return is_true(job.status.conditions, "Complete") or is_true(job.status.conditions, "Failed")


def verdict(job: Job, pods: Sequence[Pod], told: Account, now: dt.datetime) -> Verdict | None:
    """Why the Job ends, None while it goes on. Reaching its completions is decided elsewhere: no pod may be active."""
    failure = _pod_failure(job, pods) or _over_limit(job, pods, told)
    if failure is not None:
        return failure
    left = deadline_in(job, now)
    if left is not None and left <= 0:
        return Verdict(FAILURE, "DeadlineExceeded", "Job was active longer than specified deadline")
    if job.spec.completion_mode != "Indexed":
        return None
    return _failed_indexes(job, told) or _success_policy(job, told.completed)


def deadline_in(job: Job, now: dt.datetime) -> float | None:
    """Seconds until the Job has been active for too long; None without a deadline."""
    seconds, start = job.spec.active_deadline_seconds, job.status.start_time
    if seconds is None or start is None or job.spec.suspend:
        return None
    return seconds - (now - parse_timestamp(start)).total_seconds()


def _pod_failure(job: Job, pods: Iterable[Pod]) -> Verdict | None:
    if job.spec.pod_failure_policy is None:
        return None
    for pod in pods:
        if is_tracked(pod) and has_failed(job, pod) and (message := judge(job, pod).fail_job):
            return Verdict(FAILURE, "PodFailurePolicy", message)
    return None


def _over_limit(job: Job, pods: Sequence[Pod], told: Account) -> Verdict | None:
    limit = 6 if job.spec.backoff_limit is None else job.spec.backoff_limit
    over = told.failed > limit
    if not over and ((job.spec.template.get("spec") or {}).get("restartPolicy")) == "OnFailure":
        count = restarts(pods)
        over = count > 0 if limit == 0 else count >= limit
    return Verdict(FAILURE, "BackoffLimitExceeded", "Job has reached the specified backoff limit") if over else None


def _failed_indexes(job: Job, told: Account) -> Verdict | None:
    if job.spec.backoff_limit_per_index is None:
        return None
    failed, most = len(told.failed_indexes), job.spec.max_failed_indexes
    if most is not None and failed > most:
        text = "Job has exceeded the specified maximal number of failed indexes"
        return Verdict(FAILURE, "MaxFailedIndexesExceeded", text)
    if failed and failed + len(told.completed) >= (job.spec.completions or 0):
        return Verdict(FAILURE, "FailedIndexes", "Job has failed indexes")
    return None


def _success_policy(job: Job, completed: set[int]) -> Verdict | None:
    policy = job.spec.success_policy
    for position, rule in enumerate(policy.rules if policy is not None else ()):
        if _fulfilled(rule, completed, job.spec.completions or 0):
            return Verdict(SUCCESS, "SuccessPolicy", f"Matched rules at index {position}")
    return None


def _fulfilled(rule: SuccessPolicyRule, completed: set[int], completions: int) -> bool:
    if rule.succeeded_indexes is None:
        return rule.succeeded_count is not None and len(completed) >= rule.succeeded_count
    asked = parse_indexes(rule.succeeded_indexes, completions)
    reached = asked & completed
    return reached == asked if rule.succeeded_count is None else len(reached) >= rule.succeeded_count
