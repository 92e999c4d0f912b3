"""Which start of a schedule is due, and when the next one is. Pure.

Only the latest start that was missed is made up for; the others are gone, as upstream.
"""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass

from pilothouse.kinds.batch import schedule as schedules
from pilothouse.kinds.batch.cron_job import CronJob
from pilothouse.machinery.objects import parse_timestamp

MANY = 100
"""More missed starts than this point to a wrong clock or a stopped controller, and are told."""


@dataclass(frozen=True, slots=True)
class Due:
    """`start` is the latest start not later than now, None if none is due; `next` the first later one (None: never)."""

    start: dt.datetime | None
    next: dt.datetime | None
    many_missed: bool = False


def due(cron_job: CronJob, now: dt.datetime) -> Due:
    """What is due. Raises ValueError for a schedule or time zone that cannot be read."""
    schedule = schedules.parse(cron_job.spec.schedule)
    zone = schedules.zone(cron_job.spec.time_zone)
    earliest = _earliest(cron_job, now)
    first = schedule.next(earliest, zone)
    if first is None or first > now:
        return Due(None, first)
    second = schedule.next(first, zone)
    if second is None or second > now:
        return Due(first, second)
    # As many as the first distance suggests; then exactly from shortly before now on.
    distance = max(1.0, (second - first).total_seconds())
    missed = int((now - first).total_seconds() // distance) + 1
    start, upcoming = first, second
    near = schedule.next(max(first, now - 2 * (second - first)), zone)
    if near is not None and near <= now:
        start, upcoming = near, schedule.next(near, zone) or near
    while start < upcoming <= now:
        start, upcoming = upcoming, schedule.next(upcoming, zone) or upcoming
    return Due(start, schedule.next(now, zone), missed > MANY)


def too_late(cron_job: CronJob, start: dt.datetime, now: dt.datetime) -> bool:
    deadline = cron_job.spec.starting_deadline_seconds
    return deadline is not None and start + dt.timedelta(seconds=deadline) < now


def _earliest(cron_job: CronJob, now: dt.datetime) -> dt.datetime:
    text = cron_job.status.last_schedule_time or cron_job.metadata.creation_timestamp
    earliest = parse_timestamp(text) if text else now
    deadline = cron_job.spec.starting_deadline_seconds
    if deadline is not None:
        earliest = max(earliest, now - dt.timedelta(seconds=deadline))
    return earliest
