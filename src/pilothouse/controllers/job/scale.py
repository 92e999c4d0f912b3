"""Which pods a Job needs more and which go. Pure."""

from __future__ import annotations

import datetime as dt
from collections.abc import Sequence
from dataclasses import dataclass, field

from pilothouse.controllers.job.account import Account
from pilothouse.controllers.job.pods import (
    FAILURES,
    IGNORED_FAILURES,
    ended_at,
    has_failed,
    index_of,
    is_terminating,
    is_tracked,
    judge,
    number,
    replaces_only_failed,
)
from pilothouse.controllers.pods import is_active, is_ready
from pilothouse.kinds.batch.job import Job
from pilothouse.kinds.core.pod import Pod

BURST = 500
"""Most pods made or deleted in one pass."""
_BACKOFF_FIRST, _BACKOFF_MOST = 10.0, 600.0


@dataclass(frozen=True, slots=True)
class NewPod:
    """A pod to be made; `failures` and `ignored` are None where the Job does not count by index."""

    index: int | None = None
    failures: int | None = None
    ignored: int = 0


@dataclass(slots=True)
class Scale:
    """`wait` is in how many seconds a held-back pod is due."""

    create: list[NewPod] = field(default_factory=list)
    delete: list[Pod] = field(default_factory=list)
    wait: float | None = None


def scale(job: Job, pods: Sequence[Pod], told: Account, now: dt.datetime) -> Scale:
    """What brings the number of active pods to what is wanted."""
    active = [pod for pod in pods if is_active(pod)]
    if job.spec.suspend:
        return Scale(delete=active[:BURST])
    wanted = wanted_active(job, told, len(active))
    surplus = _surplus(job, active, max(0, len(active) - wanted), told)
    if surplus:
        return Scale(delete=surplus[:BURST])
    missing = wanted - len(active)
    if replaces_only_failed(job):
        missing -= sum(is_terminating(pod) for pod in pods)
    if missing <= 0:
        return Scale()
    if job.spec.backoff_limit_per_index is not None:
        return _by_index(job, pods, told, min(missing, BURST), now)
    wait = backoff(job, pods, now)
    if wait > 0:
        return Scale(wait=wait)
    count = min(missing, BURST)
    if job.spec.completion_mode != "Indexed":
        return Scale(create=[NewPod()] * count)
    return Scale(create=[NewPod(index) for index in _free_indexes(job, pods, told, count)])


def wanted_active(job: Job, told: Account, active: int) -> int:
    parallelism = 1 if job.spec.parallelism is None else job.spec.parallelism
    if job.spec.completions is None:
        # A work queue: once one has succeeded the others finish, and none is added.
        return min(active, parallelism) if told.succeeded else parallelism
    return max(0, min(parallelism, job.spec.completions - told.succeeded - len(told.failed_indexes)))


def backoff(job: Job, pods: Sequence[Pod], now: dt.datetime) -> float:
    """Seconds to wait before the next pod: 10 s after a failure, doubling to 10 minutes, until one succeeds."""
    # A pod that was discarded (deleted without the finalizer) has not failed.
    own = [pod for pod in pods if is_tracked(pod) or pod.metadata.deletion_timestamp is None]
    ended = sorted(
        ((ended_at(pod, now), pod) for pod in own if pod.status.phase == "Succeeded" or has_failed(job, pod)),
        key=lambda item: (item[0], item[1].name),
    )
    failures: list[dt.datetime] = []
    for moment, pod in ended:
        if pod.status.phase == "Succeeded":
            failures.clear()
        elif judge(job, pod).counted:
            failures.append(moment)
    return _remaining(len(failures), failures[-1], now) if failures else 0.0


def _remaining(failures: int, last: dt.datetime, now: dt.datetime) -> float:
    delay = min(_BACKOFF_MOST, _BACKOFF_FIRST * float(2 ** min(failures - 1, 10)))
    return max(0.0, delay - (now - last).total_seconds())


def _by_index(job: Job, pods: Sequence[Pod], told: Account, count: int, now: dt.datetime) -> Scale:
    """Each index waits for itself."""
    result = Scale()
    waits: list[float] = []
    for index in _free_indexes(job, pods, told, job.spec.completions or 0):
        if len(result.create) >= count:
            break
        failed = told.waiting.get(index)
        if failed is None:
            result.create.append(NewPod(index, 0))
            continue
        counted = judge(job, failed).counted
        failures = number(failed, FAILURES) + counted
        ignored = number(failed, IGNORED_FAILURES) + (not counted)
        wait = _remaining(failures + ignored, ended_at(failed, now), now)
        if wait > 0:
            waits.append(wait)
        else:
            result.create.append(NewPod(index, failures, ignored))
    result.wait = min(waits) if waits else None
    return result


def _free_indexes(job: Job, pods: Sequence[Pod], told: Account, count: int) -> list[int]:
    """The first `count` indexes that are neither done nor worked on."""
    taken = told.completed | told.failed_indexes
    only_failed = replaces_only_failed(job)
    for pod in pods:
        index = index_of(pod)
        if index is not None and (is_active(pod) or (only_failed and is_terminating(pod))):
            taken.add(index)
    free: list[int] = []
    for index in range(job.spec.completions or 0):
        if len(free) >= count:
            break
        if index not in taken:
            free.append(index)
    return free


def _surplus(job: Job, active: list[Pod], at_least: int, told: Account) -> list[Pod]:
    """Pods to delete: those nobody needs (done, twice there, beyond the last index), then the least advanced."""
    unneeded: list[Pod] = []
    if job.spec.completion_mode == "Indexed":
        seen: set[int | None] = {None, *told.completed, *told.failed_indexes}
        for pod in sorted(active, key=_progress, reverse=True):
            index = index_of(pod)
            if index in seen or (index or 0) >= (job.spec.completions or 0):
                unneeded.append(pod)
            seen.add(index)
    names = {pod.name for pod in unneeded}
    others = sorted((pod for pod in active if pod.name not in names), key=_progress)
    return unneeded + others[: max(0, at_least - len(unneeded))]


def _progress(pod: Pod) -> tuple[bool, bool, bool, str]:
    meta = pod.metadata
    return bool(pod.spec.node_name), pod.status.phase == "Running", is_ready(pod), meta.creation_timestamp or ""
