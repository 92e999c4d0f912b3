"""Pods that carry the tracking finalizer of a Job that is gone: nobody counts them any more, and it would keep them."""

from __future__ import annotations

from pilothouse.client.shared import OWNER
from pilothouse.controllers.context import Context
from pilothouse.controllers.job.finalizers import set_tracked
from pilothouse.controllers.job.pods import is_tracked
from pilothouse.kinds.batch.job import Job
from pilothouse.kinds.core.pod import Pod
from pilothouse.kinds.view import OwnerReference
from pilothouse.machinery.objects import split_key
from pilothouse.reconcile.queue import KeyedQueue


class Strays:
    """Keys of such pods. Whether the Job is really gone is asked of the API, not of a copy."""

    def __init__(self, context: Context) -> None:
        self._context = context
        self._jobs = context.informers.of(Job)
        self._pods = context.informers.of(Pod)
        self.queue = KeyedQueue()

    def seen(self, pod: Pod) -> None:
        if is_tracked(pod) and not self._has_job(pod):
            self.queue.add(pod.key)

    def left_by(self, job: Job) -> None:
        for pod in self._pods.by_index(OWNER, job.metadata.uid):
            self.seen(pod)

    async def reconcile(self, key: str) -> None:
        pod = self._pods.get(key)
        if pod is None or not is_tracked(pod) or self._has_job(pod):
            return
        owner = _owner(pod)
        if owner is not None:
            job = await self._context.client.find(Job, owner.name, split_key(key)[0])
            if job is not None and job.metadata.uid == owner.uid:
                return
        await set_tracked(self._context.client, pod, False)

    def _has_job(self, pod: Pod) -> bool:
        owner = _owner(pod)
        job = self._jobs.get(f"{pod.namespace}/{owner.name}") if owner is not None else None
        return job is not None and owner is not None and job.metadata.uid == owner.uid


def _owner(pod: Pod) -> OwnerReference | None:
    owner = pod.controller()
    return owner if owner is not None and owner.kind == "Job" else None
