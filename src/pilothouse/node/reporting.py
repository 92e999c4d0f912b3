"""Tells the API server what became of each pod: what changed, as soon as it changed, and at the end its deletion."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence

from pilothouse.client.client import Client
from pilothouse.kinds.core.pod import Pod
from pilothouse.machinery.errors import Conflict, NotFound
from pilothouse.machinery.objects import Obj
from pilothouse.node.plan import waiting_for
from pilothouse.node.state import PodState, PodTable
from pilothouse.node.status import difference, pod_status
from pilothouse.reconcile.queue import Backoff, KeyedQueue, work

_WORKERS = 4
_LOOK = 0.05
_BACKOFF = Backoff(first=0.1, most=10.0)


def _left_by_another(pod: Pod) -> Obj:
    """Conditions that an earlier process of this node may have set and this one may have to take away."""
    kinds = [c.type for c in pod.status.conditions if c.type in ("PodResizePending", "PodResizeInProgress")]
    return (
        {"conditions": [{"type": kind, "status": "True", "lastTransitionTime": ""} for kind in kinds]} if kinds else {}
    )


class Reporter:
    """A queue of its own, so that pods are kept alive while the API server is away."""

    def __init__(self, client: Client, pods: PodTable, host_ips: Sequence[str]) -> None:
        self._client = client
        self._pods = pods
        self._host_ips = host_ips
        self._sent: dict[str, Obj] = {}
        self._queue = KeyedQueue()

    def report(self, uid: str) -> None:
        """Has the pod's status sent if it changed."""
        self._queue.add(uid)

    def forget(self, uid: str) -> None:
        self._sent.pop(uid, None)

    async def run(self) -> None:
        await work("pod status", self._queue, self._report, workers=_WORKERS, backoff=_BACKOFF)

    async def told(self, seconds: float = 5.0) -> None:
        """Returns when all that is waiting to be sent was sent, or after some seconds."""
        deadline = time.monotonic() + seconds
        while not self._queue.idle:
            if time.monotonic() > deadline:
                return
            await asyncio.sleep(_LOOK)

    async def _report(self, uid: str) -> None:
        state = self._pods.by_uid(uid)
        if state is None or state.pod is None or state.deleted or not state.api_uid:
            return
        goes = state.cleaned and not state.static and state.pod.metadata.deletion_timestamp is not None
        # Who holds a pod by a finalizer (a Job) is to see how it ended; nobody sees one that is gone with this.
        if not state.ended and (not goes or state.pod.metadata.finalizers):
            await self._tell(state, state.pod)
        if goes:
            await self._delete(state)

    async def _tell(self, state: PodState, pod: Pod) -> None:
        uid = state.uid
        now = time.time()
        waiting, _ = waiting_for(state, now)
        sent = self._sent.get(uid) or _left_by_another(pod)
        status = pod_status(state, waiting, self._host_ips, now, sent.get("conditions", ()))
        patch = difference(sent, status)
        if not patch:
            return
        body = {"metadata": {"uid": state.api_uid}, "status": patch}
        try:
            await self._client.patch(Pod, state.name, state.namespace, body, type="strategic", subresource="status")
        except (NotFound, Conflict):
            # Gone, or another pod of the same name: the informer tells which.
            return
        self._sent[uid] = status

    async def _delete(self, state: PodState) -> None:
        try:
            await self._client.delete(Pod, state.name, state.namespace, uid=state.uid, grace_period_seconds=0)
        except (NotFound, Conflict):
            return
