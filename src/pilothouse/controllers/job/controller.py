"""Carries out what `decide` says about Jobs."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import TypeVar

from pilothouse.client.shared import NAMESPACE, OWNER, without_owner
from pilothouse.controllers.context import Context
from pilothouse.controllers.job.decide import Plan, decide
from pilothouse.controllers.job.finalizers import set_tracked
from pilothouse.controllers.job.notes import Notes
from pilothouse.controllers.job.pods import is_tracked
from pilothouse.controllers.job.scale import NewPod
from pilothouse.controllers.job.strays import Strays
from pilothouse.controllers.job.template import pod_tree
from pilothouse.controllers.job.verdict import is_finished
from pilothouse.controllers.ownership import claim, settle
from pilothouse.controllers.pods import is_active
from pilothouse.kinds.batch.job import MANAGED_HERE, Job
from pilothouse.kinds.core.pod import Pod
from pilothouse.machinery.errors import ApiError, Conflict, NotFound
from pilothouse.reconcile.labels import matches
from pilothouse.reconcile.queue import KeyedQueue, work

_T = TypeVar("_T")

NAME = "job-controller"
WORKERS = 4
_AT_ONCE = 16
"""Requests under way at most for one Job (as for ReplicaSets)."""
_GATHER_SECONDS = 0.02
"""Changes of a Job's pods within this time are looked at together."""


async def run(context: Context) -> None:
    """Looks after every Job until cancelled."""
    controller = Controller(context)
    await context.informers.synced(Job, Pod)
    controller.subscribe()
    async with asyncio.TaskGroup() as group:
        group.create_task(work(NAME, controller.queue, controller.reconcile, workers=WORKERS))
        group.create_task(work(f"{NAME} strays", controller.strays.queue, controller.strays.reconcile))


class Controller:
    def __init__(self, context: Context) -> None:
        self._context = context
        self._jobs = context.informers.of(Job)
        self._pods = context.informers.of(Pod)
        self._notes = Notes()
        self.queue = KeyedQueue()
        self.strays = Strays(context)

    def subscribe(self) -> None:
        self._jobs.subscribe(self._job_changed)
        self._pods.subscribe(self._pod_changed)

    def _job_changed(self, key: str, old: Job | None, new: Job | None) -> None:
        if old is not None and (new is None or new.metadata.uid != old.metadata.uid):
            self._notes.forget(old.metadata.uid)
            self.strays.left_by(old)
        self.queue.add(key)

    def _pod_changed(self, key: str, old: Pod | None, new: Pod | None) -> None:
        pod = new or old
        if pod is None:
            return
        owner = pod.controller()
        if owner is not None and owner.kind == "Job":
            self._notes.seen(owner.uid, pod, gone=new is None)
            self.queue.add_after(f"{pod.namespace}/{owner.name}", _GATHER_SECONDS)
        elif new is not None and owner is None:
            for candidate in self._jobs.by_index(NAMESPACE, new.namespace):
                if matches(candidate.spec.selector, new.metadata.labels):
                    self.queue.add(candidate.key)
        if new is not None:
            self.strays.seen(new)

    async def reconcile(self, key: str) -> float | None:
        seen = self._jobs.get(key)
        if seen is None or seen.spec.managed_by not in (None, MANAGED_HERE):
            return None
        uid = seen.metadata.uid
        job = self._notes.latest(seen)
        if not self._notes.knows(uid):
            compared = await self._compare(job)
            if compared is None:
                return None
            job = compared
        pods = self._pods.by_index(OWNER, uid)
        pods += self._pods.by_index(OWNER, without_owner(job.namespace))
        claimed = claim(job, job.spec.selector, pods, is_active)
        if not is_finished(job):
            await settle(self._context.client, job, claimed)
        may_scale = not self._notes.pending.outstanding(uid)
        now = self._context.now()
        plan = decide(job, claimed.owned, self._notes.released(uid), now, may_scale=may_scale)
        if plan.status and not await self._write(job, plan):
            return None
        for event in plan.events:
            self._context.events.event(job, event.type, event.reason, event.message)
        await self._act(job, plan)
        return plan.wait

    async def _compare(self, job: Job) -> Job | None:
        """The Job as the API has it now; None if it is gone. One that never ran has left nothing behind."""
        client, uid = self._context.client, job.metadata.uid
        live = await client.find(Job, job.name, job.namespace)
        if live is None or live.metadata.uid != uid:
            return None
        pods: list[Pod] = []
        if live.status.start_time is not None:
            labels = live.spec.selector.match_labels if live.spec.selector is not None else {}
            selector = ",".join(f"{key}={value}" for key, value in labels.items())
            found = (await client.list(Pod, job.namespace, label_selector=selector)).items
            pods = [pod for pod in found if (owner := pod.controller()) is not None and owner.uid == uid]
        self._notes.compare(live, pods, self._pods.by_index(OWNER, uid))
        return live

    async def _write(self, job: Job, plan: Plan) -> bool:
        """Stores the status, if the Job is still the one that was looked at. Raises Conflict if it is not."""
        meta = {"uid": job.metadata.uid, "resourceVersion": job.metadata.resource_version}
        patch = {"metadata": meta, "status": plan.status}
        try:
            written = await self._context.client.patch(Job, job.name, job.namespace, patch, subresource="status")
        except NotFound:
            # Gone meanwhile, and the informer is about to say so.
            return False
        self._notes.wrote(written)
        return True

    async def _act(self, job: Job, plan: Plan) -> None:
        await _each(plan.release, lambda pod: self._release(job, pod))
        await _each(plan.track, lambda pod: set_tracked(self._context.client, pod, True))
        await _each(plan.discard, lambda pod: self._discard(job, pod))
        await _each(plan.delete, lambda pod: self._delete(job, pod))
        # Batches of 1, 2, 4, … so that a refusal costs few requests.
        start, size = 0, 1
        while start < len(plan.create):
            await _each(plan.create[start : start + size], lambda new: self._create(job, new))
            start, size = start + size, min(size * 2, _AT_ONCE)

    async def _release(self, job: Job, pod: Pod) -> None:
        self._notes.releasing(job.metadata.uid, pod.metadata.uid)
        try:
            await set_tracked(self._context.client, pod, False)
        except ApiError:
            self._notes.not_released(job.metadata.uid, pod.metadata.uid)
            raise

    async def _discard(self, job: Job, pod: Pod) -> None:
        """Deletes a pod whose end is not to count; one that has ended meanwhile is left, as a conflict."""
        self._notes.pending.deleting(job.metadata.uid, pod.key)
        try:
            if is_tracked(pod):
                await set_tracked(self._context.client, pod, False)
        except ApiError:
            self._notes.pending.gone(job.metadata.uid, pod.key)
            raise
        await self._delete(job, pod)

    async def _delete(self, job: Job, pod: Pod) -> None:
        uid, events = job.metadata.uid, self._context.events
        self._notes.pending.deleting(uid, pod.key)
        try:
            await self._context.client.delete(Pod, pod.name, pod.namespace, uid=pod.metadata.uid)
        except (NotFound, Conflict):
            self._notes.pending.gone(uid, pod.key)
            return
        except ApiError as error:
            self._notes.pending.gone(uid, pod.key)
            events.event(job, "Warning", "FailedDelete", f"Error deleting: {error.message}")
            raise
        events.event(job, "Normal", "SuccessfulDelete", f"Deleted pod: {pod.name}")

    async def _create(self, job: Job, new: NewPod) -> None:
        tree = pod_tree(job, new)
        name, uid, pending = tree["metadata"]["name"], job.metadata.uid, self._notes.pending
        pod_key = f"{job.namespace}/{name}"
        pending.creating(uid, pod_key)
        try:
            await self._context.client.create_tree(Pod.resource, tree, job.namespace)
        except ApiError as error:
            pending.seen(uid, pod_key)
            self._context.events.event(job, "Warning", "FailedCreate", f"Error creating: {error.message}")
            raise
        self._context.events.event(job, "Normal", "SuccessfulCreate", f"Created pod: {name}")


async def _each(items: Sequence[_T], act: Callable[[_T], Awaitable[None]]) -> None:
    """Does it for every item, a few at a time; the first error is raised once those under way are through."""
    for start in range(0, len(items), _AT_ONCE):
        batch = items[start : start + _AT_ONCE]
        results = await asyncio.gather(*(act(item) for item in batch), return_exceptions=True)
        error = next((result for result in results if result is not None), None)
        if error is not None:
            raise error
