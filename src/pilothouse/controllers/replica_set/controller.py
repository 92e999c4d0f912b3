"""Carries out what `decide` says about ReplicaSets."""

from __future__ import annotations

from pilothouse.client.shared import NAMESPACE, OWNER, without_owner
from pilothouse.controllers.context import Context
from pilothouse.controllers.ownership import settle
from pilothouse.controllers.pending import Pending
from pilothouse.controllers.pod_control import PodControl, new_pod
from pilothouse.controllers.replica_set.decide import decide, status
from pilothouse.kinds.apps.replica_set import ReplicaSet
from pilothouse.kinds.core.pod import Pod
from pilothouse.machinery.errors import NotFound
from pilothouse.reconcile.labels import matches
from pilothouse.reconcile.queue import KeyedQueue, work

NAME = "replicaset-controller"
WORKERS = 4


async def run(context: Context) -> None:
    """Keeps every ReplicaSet at its size until cancelled."""
    controller = Controller(context)
    await context.informers.synced(ReplicaSet, Pod)
    controller.subscribe()
    await work(NAME, controller.queue, controller.reconcile, workers=WORKERS)


class Controller:
    def __init__(self, context: Context) -> None:
        self._context = context
        self._sets = context.informers.of(ReplicaSet)
        self._pods = context.informers.of(Pod)
        self._pending = Pending()
        self._control = PodControl(context, self._pending)
        self.queue = KeyedQueue()

    def subscribe(self) -> None:
        self._sets.subscribe(self._set_changed)
        self._pods.subscribe(self._pod_changed)

    def _set_changed(self, key: str, old: ReplicaSet | None, new: ReplicaSet | None) -> None:
        if new is None and old is not None:
            self._pending.forget(old.metadata.uid)
        self.queue.add(key)

    def _pod_changed(self, key: str, old: Pod | None, new: Pod | None) -> None:
        for pod in (old, new):
            owner = pod.controller() if pod is not None else None
            if pod is not None and owner is not None and owner.kind == "ReplicaSet":
                if new is None or new.metadata.deletion_timestamp is not None:
                    self._pending.gone(owner.uid, key)
                else:
                    self._pending.seen(owner.uid, key)
                self.queue.add(f"{pod.metadata.namespace}/{owner.name}")
        if new is not None and new.controller() is None:
            for candidate in self._sets.by_index(NAMESPACE, new.metadata.namespace):
                if matches(candidate.spec.selector, new.metadata.labels):
                    self.queue.add(candidate.key)

    async def reconcile(self, key: str) -> float | None:
        replica_set = self._sets.get(key)
        if replica_set is None:
            return None
        uid = replica_set.metadata.uid
        pods = self._pods.by_index(OWNER, uid)
        pods += self._pods.by_index(OWNER, without_owner(replica_set.namespace))
        plan = decide(replica_set, pods, may_scale=not self._pending.outstanding(uid))
        await settle(self._context.client, replica_set, plan.claimed)
        failure = await self._control.create(
            replica_set, plan.create, lambda _: new_pod(replica_set, replica_set.spec.template)
        )
        failure = await self._control.delete(replica_set, plan.delete) or failure
        patch, wait = status(replica_set, plan.active, failure and failure[:2], self._context.now())
        if patch:
            try:
                await self._context.client.patch(
                    ReplicaSet,
                    replica_set.name,
                    replica_set.namespace,
                    {"metadata": {"uid": uid}, "status": patch},
                    subresource="status",
                )
            except NotFound:
                # Gone meanwhile, and the informer is about to say so.
                return None
        if failure is not None:
            raise failure.error
        return wait
