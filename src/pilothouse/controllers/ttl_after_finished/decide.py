"""When a finished Job is due for deletion. Pure."""

from __future__ import annotations

import datetime as dt

from pilothouse.kinds.batch.job import Job
from pilothouse.machinery.objects import parse_timestamp


def expires_in(job: Job, now: dt.datetime) -> float | None:
    """Seconds until the Job is to be deleted (0 or less: now); None if it is not to be, or not yet known."""
    ttl = job.spec.ttl_seconds_after_finished
    if ttl is None or job.metadata.deletion_timestamp is not None:
        return None
    for condition in job.status.conditions:
        if condition.type in ("Complete", "Failed") and condition.status == "True" and condition.last_transition_time:
            return ttl - (now - parse_timestamp(condition.last_transition_time)).total_seconds()
    return None
