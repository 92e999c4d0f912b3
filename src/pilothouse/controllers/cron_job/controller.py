"""Carries out what `decide` says about CronJobs; each has one timer, for its next start."""

from __future__ import annotations

import datetime as dt

from pilothouse.client.shared import OWNER
from pilothouse.controllers.context import Context
from pilothouse.controllers.cron_job.decide import Plan, Told, decide, job_tree, reference, status
from pilothouse.kinds.batch.cron_job import CronJob
from pilothouse.kinds.batch.job import Job
from pilothouse.kinds.view import from_tree
from pilothouse.machinery.errors import AlreadyExists, ApiError, NotFound
from pilothouse.reconcile.queue import KeyedQueue, work

NAME = "cronjob-controller"
_LATE = 0.05
"""Seconds after a start at which it is looked at, so that the timer is never early."""
_LONGEST_WAIT = 60.0
"""A clock that is set meanwhile is noticed within this time: timers count by a clock that cannot be set."""


async def run(context: Context) -> None:
    """Looks after every CronJob until cancelled."""
    controller = Controller(context)
    await context.informers.synced(CronJob, Job)
    controller.subscribe()
    await work(NAME, controller.queue, controller.reconcile, workers=2)


class Controller:
    def __init__(self, context: Context) -> None:
        self._context = context
        self._cron_jobs = context.informers.of(CronJob)
        self._jobs = context.informers.of(Job)
        self._told: dict[str, set[str]] = {}
        self._written: dict[str, CronJob] = {}
        self.queue = KeyedQueue()

    def subscribe(self) -> None:
        self._cron_jobs.subscribe(self._cron_job_changed)
        self._jobs.subscribe(self._job_changed)

    def _cron_job_changed(self, key: str, old: CronJob | None, new: CronJob | None) -> None:
        if old is not None and (new is None or new.spec != old.spec):
            self._told.pop(old.metadata.uid, None)
        if old is not None and new is None:
            self._written.pop(old.metadata.uid, None)
        self.queue.add(key)

    def _job_changed(self, key: str, old: Job | None, new: Job | None) -> None:
        job = new or old
        owner = job.controller() if job is not None else None
        if job is not None and owner is not None and owner.kind == "CronJob":
            self.queue.add(f"{job.namespace}/{owner.name}")

    async def reconcile(self, key: str) -> float | None:
        seen = self._cron_jobs.get(key)
        if seen is None:
            return None
        cron_job = self._latest(seen)
        now = self._context.now()
        plan = decide(cron_job, await self._own_jobs(cron_job), now)
        self._tell(cron_job, plan.events)
        for job in plan.expired:
            await self._delete(cron_job, job, "Background")
        for job in plan.replaced:
            await self._delete(cron_job, job, "Background")
        scheduled = await self._start(cron_job, plan, plan.start) if plan.start is not None else None
        patch = status(cron_job, plan, scheduled)
        if patch:
            meta = {"uid": cron_job.metadata.uid, "resourceVersion": cron_job.metadata.resource_version}
            try:
                self._written[cron_job.metadata.uid] = await self._context.client.patch(
                    CronJob,
                    cron_job.name,
                    cron_job.namespace,
                    {"metadata": meta, "status": patch},
                    subresource="status",
                )
            except NotFound:
                # Gone meanwhile, and the informer is about to say so.
                return None
        return None if plan.wait is None else min(plan.wait + _LATE, _LONGEST_WAIT)

    async def _own_jobs(self, cron_job: CronJob) -> list[Job]:
        """Its Jobs; active ones that the informer does not show are asked for, they may be new."""
        jobs = list(self._jobs.by_index(OWNER, cron_job.metadata.uid))
        shown = {job.metadata.uid for job in jobs}
        for ref in cron_job.status.active:
            if ref.uid not in shown:
                job = await self._context.client.find(Job, ref.name, cron_job.namespace)
                if job is not None and job.metadata.uid == ref.uid:
                    jobs.append(job)
        return jobs

    def _latest(self, cron_job: CronJob) -> CronJob:
        """The CronJob as the informer shows it, or as it was last written here if that is newer."""
        written = self._written.get(cron_job.metadata.uid)
        if written is None or int(written.metadata.resource_version) <= int(cron_job.metadata.resource_version):
            return cron_job
        return written

    def _tell(self, cron_job: CronJob, events: list[Told]) -> None:
        """Each thing is told once until the CronJob's spec changes: it is looked at again and again."""
        told = self._told.setdefault(cron_job.metadata.uid, set())
        for event in events:
            if event.type == "Warning":
                if event.message in told:
                    continue
                told.add(event.message)
            self._context.events.event(cron_job, event.type, event.reason, event.message)

    async def _start(self, cron_job: CronJob, plan: Plan, start: dt.datetime) -> dt.datetime | None:
        """Makes the Job of a start; returns the start once it is there."""
        client, tree = self._context.client, job_tree(cron_job, start)
        name = tree["metadata"]["name"]
        try:
            made: Job = from_tree(Job, await client.create_tree(Job.resource, tree, cron_job.namespace))
        except AlreadyExists:
            found = await client.find(Job, name, cron_job.namespace)
            owner = found.controller() if found is not None else None
            if found is None or owner is None or owner.uid != cron_job.metadata.uid:
                taken = f"Error creating job: the name {name} is taken by a Job of somebody else"
                self._tell(cron_job, [Told("Warning", "FailedCreate", taken)])
            return start
        except ApiError as error:
            message = f"Error creating job: {error.message}"
            self._context.events.event(cron_job, "Warning", "FailedCreate", message)
            raise
        plan.active.append(reference(made))
        self._context.events.event(cron_job, "Normal", "SuccessfulCreate", f"Created job {name}")
        return start

    async def _delete(self, cron_job: CronJob, job: Job, propagation: str) -> None:
        try:
            await self._context.client.delete(
                Job, job.name, job.namespace, uid=job.metadata.uid, propagation_policy=propagation
            )
        except NotFound:
            return
        except ApiError as error:
            message = f"Error deleting job {job.name}: {error.message}"
            self._context.events.event(cron_job, "Warning", "FailedDelete", message)
            raise
        self._context.events.event(cron_job, "Normal", "SuccessfulDelete", f"Deleted job {job.name}")
