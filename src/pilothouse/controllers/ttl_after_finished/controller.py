"""Deletes finished Jobs, with their pods, after `ttlSecondsAfterFinished`."""

from __future__ import annotations

from pilothouse.controllers.context import Context
from pilothouse.controllers.ttl_after_finished.decide import expires_in
from pilothouse.kinds.batch.job import Job
from pilothouse.machinery.errors import Conflict, NotFound
from pilothouse.reconcile.queue import KeyedQueue, work

NAME = "ttl-after-finished-controller"
_LONGEST_WAIT = 3600.0
"""A clock that is set meanwhile is noticed within this time."""


async def run(context: Context) -> None:
    """Deletes Jobs whose time is up until cancelled; each is looked at when it changes and when it is due."""
    jobs, queue = context.informers.of(Job), KeyedQueue()

    async def reconcile(key: str) -> float | None:
        job = jobs.get(key)
        left = expires_in(job, context.now()) if job is not None else None
        if job is None or left is None:
            return None
        if left > 0:
            return min(left, _LONGEST_WAIT)
        meta = job.metadata
        try:
            await context.client.delete(
                Job,
                job.name,
                job.namespace,
                uid=meta.uid,
                resource_version=meta.resource_version,
                propagation_policy="Foreground",
            )
        except (NotFound, Conflict):
            # Changed or gone meanwhile, and the informer is about to say so.
            return None
        return None

    await context.informers.synced(Job)
    jobs.subscribe(lambda key, old, new: queue.add(key))
    await work(NAME, queue, reconcile)
