"""What a Job asks about one of its pods: has it ended, how, when, for which index, and what its policy says. Pure."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterable
from dataclasses import dataclass

from pilothouse.controllers.conditions import find
from pilothouse.controllers.pods import is_terminal
from pilothouse.kinds.batch.job import (
    COMPLETION_INDEX,
    TRACKING_FINALIZER,
    Job,
    PodFailurePolicyOnExitCodesRequirement,
    PodFailurePolicyRule,
)
from pilothouse.kinds.core.pod import Pod
from pilothouse.machinery.objects import parse_timestamp

FAILURES = "batch.kubernetes.io/job-index-failure-count"
"""Annotation: how often the pod's index had failed before it (Jobs with `backoffLimitPerIndex`)."""
IGNORED_FAILURES = "batch.kubernetes.io/job-index-ignored-failure-count"
"""Annotation: failures before it that the policy ignored; they count for the back-off only."""


@dataclass(frozen=True, slots=True)
class Judgement:
    """What the pod failure policy makes of a failed pod. `fail_job` is the message with which the Job fails."""

    counted: bool = True
    fail_index: bool = False
    fail_job: str = ""


def is_tracked(pod: Pod) -> bool:
    return TRACKING_FINALIZER in pod.metadata.finalizers


def replaces_only_failed(job: Job) -> bool:
    """True when a pod that is being deleted counts only once it has ended."""
    return job.spec.pod_replacement_policy == "Failed" or job.spec.pod_failure_policy is not None


def is_terminating(pod: Pod) -> bool:
    return pod.metadata.deletion_timestamp is not None and not is_terminal(pod) and not _nobody_will_end_it(pod)


def has_failed(job: Job, pod: Pod) -> bool:
    if pod.status.phase in ("Failed", "Succeeded"):
        return pod.status.phase == "Failed"
    if pod.metadata.deletion_timestamp is None:
        return False
    return not replaces_only_failed(job) or _nobody_will_end_it(pod)


def _nobody_will_end_it(pod: Pod) -> bool:
    """A deleted pod that no node has, or that its node has let go already, gets no further status."""
    if pod.metadata.deletion_timestamp is None:
        return False
    return not pod.spec.node_name or pod.metadata.deletion_grace_period_seconds == 0


def index_of(pod: Pod) -> int | None:
    text = pod.metadata.annotations.get(COMPLETION_INDEX, "")
    return int(text) if text.isascii() and text.isdigit() else None


def valid_index(job: Job, pod: Pod) -> int | None:
    """The pod's index, None when it has none or the Job has become too small for it."""
    index = index_of(pod)
    return index if index is not None and index < (job.spec.completions or 0) else None


def number(pod: Pod, annotation: str) -> int:
    text = pod.metadata.annotations.get(annotation, "0")
    return int(text) if text.isascii() and text.isdigit() else 0


def ended_at(pod: Pod, now: dt.datetime) -> dt.datetime:
    """When the pod ended, as closely as its status tells."""
    moments = [
        parse_timestamp(status.state.terminated.finished_at)
        for status in pod.status.container_statuses
        if status.state is not None and status.state.terminated is not None and status.state.terminated.finished_at
    ]
    if moments:
        return max(moments)
    ready = find(pod.status.conditions, "Ready")
    text = (ready.last_transition_time if ready is not None and ready.status == "False" else None) or (
        pod.metadata.deletion_timestamp or pod.metadata.creation_timestamp
    )
    return parse_timestamp(text) if text else now


def judge(job: Job, pod: Pod) -> Judgement:
    """The first rule of the pod failure policy that fits; without one the failure counts."""
    policy = job.spec.pod_failure_policy
    if policy is None or pod.status.phase != "Failed":
        return Judgement()
    for position, rule in enumerate(policy.rules):
        why = _matched(rule, pod)
        if not why:
            continue
        if rule.action == "Ignore":
            return Judgement(counted=False)
        if rule.action == "FailIndex":
            return Judgement(fail_index=True)
        if rule.action == "FailJob":
            return Judgement(fail_job=f"{why} matching {rule.action} rule at index {position}")
        return Judgement()
    return Judgement()


def _matched(rule: PodFailurePolicyRule, pod: Pod) -> str:
    if rule.on_exit_codes is not None:
        return _matched_exit_code(rule.on_exit_codes, pod)
    for pattern in rule.on_pod_conditions:
        condition = find(pod.status.conditions, pattern.type)
        if condition is not None and condition.status == pattern.status:
            return f"Pod {pod.key} has condition {condition.type}"
    return ""


def _matched_exit_code(rule: PodFailurePolicyOnExitCodesRequirement, pod: Pod) -> str:
    for status in (*pod.status.container_statuses, *pod.status.init_container_statuses):
        ended = status.state.terminated if status.state is not None else None
        if ended is None or ended.exit_code == 0 or rule.container_name not in (None, status.name):
            continue
        if (ended.exit_code in rule.values) == (rule.operator == "In"):
            return f"Container {status.name} for pod {pod.key} failed with exit code {ended.exit_code}"
    return ""


def restarts(pods: Iterable[Pod]) -> int:
    """Restarts of containers in pods that have not ended."""
    return sum(
        status.restart_count
        for pod in pods
        if pod.status.phase in ("Running", "Pending")
        for status in (*pod.status.init_container_statuses, *pod.status.container_statuses)
    )
