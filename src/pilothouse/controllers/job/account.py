"""Counting ended pods, each exactly once whatever is restarted in between. Pure.

A pod keeps the tracking finalizer until its end is in the stored status: first its uid is written to
`uncountedTerminatedPods` (or its index to `completedIndexes`), then the finalizer is removed, and once it is gone the
uid moves into the counter, both in one conditional write. So what is found at any moment says how far this had got.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass, field

from pilothouse.controllers.job.pods import (
    FAILURES,
    IGNORED_FAILURES,
    Judgement,
    has_failed,
    index_of,
    is_terminating,
    is_tracked,
    judge,
    number,
    replaces_only_failed,
    valid_index,
)
from pilothouse.controllers.pods import is_active
from pilothouse.kinds.batch.indexes import parse_indexes
from pilothouse.kinds.batch.job import Job, UncountedTerminatedPods
from pilothouse.kinds.core.pod import Pod

MOST_UNCOUNTED = 500
"""Uids in a status at most, so that it stays small; further pods wait for the next pass."""


@dataclass(slots=True)
class Account:
    """`succeeded` and `failed` hold everything that has ended; the `counted_` ones are what the status may say."""

    succeeded: int = 0
    failed: int = 0
    counted_succeeded: int = 0
    counted_failed: int = 0
    uncounted_succeeded: list[str] = field(default_factory=list)
    uncounted_failed: list[str] = field(default_factory=list)
    completed: set[int] = field(default_factory=set)
    failed_indexes: set[int] = field(default_factory=set)
    release: list[Pod] = field(default_factory=list)
    """Pods whose end is in this account: their finalizer goes once the status is stored."""
    waiting: dict[int, Pod] = field(default_factory=dict)
    """Per index the failed pod that its replacement is to be made after (Jobs with `backoffLimitPerIndex`)."""
    capped: bool = False

    @property
    def settled(self) -> bool:
        """True when every end is in a counter."""
        return not (self.uncounted_succeeded or self.uncounted_failed or self.release or self.capped)


def account(job: Job, pods: Sequence[Pod], released: Collection[str], *, finishing: bool) -> Account:
    """Takes in what has ended. `released` are uids whose finalizer is gone although `pods` may still show it.

    `finishing` says that no replacement will be made any more.
    """
    status, indexed = job.status, job.spec.completion_mode == "Indexed"
    uncounted = status.uncounted_terminated_pods or UncountedTerminatedPods()
    tracked = [pod for pod in pods if is_tracked(pod) and pod.metadata.uid not in released]
    uids = {pod.metadata.uid for pod in tracked}
    result = Account(
        uncounted_succeeded=[uid for uid in uncounted.succeeded if uid in uids],
        uncounted_failed=[uid for uid in uncounted.failed if uid in uids],
    )
    result.counted_succeeded = status.succeeded + len(uncounted.succeeded) - len(result.uncounted_succeeded)
    result.counted_failed = status.failed + len(uncounted.failed) - len(result.uncounted_failed)
    completions = job.spec.completions or 0
    if indexed:
        result.completed = parse_indexes(status.completed_indexes, completions)
        result.failed_indexes = parse_indexes(status.failed_indexes or "", completions)
    known = {*result.uncounted_succeeded, *result.uncounted_failed}
    ended = [pod for pod in tracked if pod.status.phase == "Succeeded" or has_failed(job, pod)]
    judged = {pod.metadata.uid: judge(job, pod) for pod in ended if pod.status.phase != "Succeeded"}
    _indexes(job, pods, ended, judged, result)
    if finishing:
        result.waiting.clear()
    held = {pod.metadata.uid for pod in result.waiting.values()}
    delayed = 0
    for pod in ended:
        uid = pod.metadata.uid
        if uid in held:
            delayed += uid not in known and judged[uid].counted
        elif uid in known or _take(job, pod, judged.get(uid), result):
            result.release.append(pod)
    if indexed:
        result.succeeded = result.counted_succeeded = len(result.completed)
    else:
        result.succeeded = result.counted_succeeded + len(result.uncounted_succeeded)
    result.failed = result.counted_failed + len(result.uncounted_failed) + delayed
    return result


def _take(job: Job, pod: Pod, judgement: Judgement | None, result: Account) -> bool:
    """Notes one end that no status holds yet; False when there is no room for it in this pass."""
    indexed = job.spec.completion_mode == "Indexed"
    if judgement is not None and not judgement.counted:
        return True
    if indexed and (valid_index(job, pod) is None or judgement is None):
        # The index itself is the note of a success; pods beyond the last index do not count.
        return True
    if len(result.uncounted_succeeded) + len(result.uncounted_failed) >= MOST_UNCOUNTED:
        result.capped = True
        return False
    (result.uncounted_succeeded if judgement is None else result.uncounted_failed).append(pod.metadata.uid)
    return True


def _indexes(
    job: Job,
    pods: Sequence[Pod],
    ended: Sequence[Pod],
    judged: dict[str, Judgement],
    result: Account,
) -> None:
    """Indexes that have succeeded or failed for good, and the failures that replacements continue from."""
    if job.spec.completion_mode != "Indexed":
        return
    failed: list[tuple[int, Pod]] = []
    for pod in ended:
        index = valid_index(job, pod)
        if index is None:
            continue
        if pod.status.phase != "Succeeded":
            failed.append((index, pod))
        elif pod.metadata.uid not in result.uncounted_failed:
            result.completed.add(index)
    limit = job.spec.backoff_limit_per_index
    if limit is None:
        return
    for index, pod in failed:
        judgement = judged[pod.metadata.uid]
        spent = judgement.counted and number(pod, FAILURES) >= limit
        if index not in result.completed and (judgement.fail_index or spent):
            result.failed_indexes.add(index)
    only_failed = replaces_only_failed(job)
    replaced = {index_of(pod) for pod in pods if is_active(pod) or (only_failed and is_terminating(pod))}
    done = result.completed | result.failed_indexes | replaced
    for index, pod in failed:
        before = result.waiting.get(index)
        if index not in done and (before is None or _attempt(pod) >= _attempt(before)):
            result.waiting[index] = pod


def _attempt(pod: Pod) -> tuple[int, int]:
    return number(pod, FAILURES), number(pod, IGNORED_FAILURES)
