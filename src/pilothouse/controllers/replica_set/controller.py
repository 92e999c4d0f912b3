"""Carries out what `decide` says about ReplicaSets."""

from __future__ import annotations

from collections.abc import Callable
from typing import Generic, TypeVar

from pilothouse.client.shared import NAMESPACE, OWNER, without_owner
from pilothouse.controllers.context import Context
from pilothouse.controllers.ownership import settle
from pilothouse.controllers.pending import Pending
from pilothouse.controllers.pod_control import PodControl, new_pod
from pilothouse.controllers.replica_set.decide import decide, status
from pilothouse.kinds.apps.replica_set import ReplicaSet
from pilothouse.kinds.core.pod import Pod
from pilothouse.kinds.view import Object
from pilothouse.machinery.errors import NotFound
from pilothouse.reconcile.labels import matches
from pilothouse.reconcile.queue import KeyedQueue, work

NAME = "replicaset-controller"
WORKERS = 4
T = TypeVar("T", bound=Object)


async def run(context: Context) -> None:
    """Keeps every ReplicaSet at its size until cancelled."""
    controller = Controller(context, ReplicaSet, lambda replica_set: replica_set)
    await context.informers.synced(ReplicaSet, Pod)
    controller.subscribe()
    await work(NAME, controller.queue, controller.reconcile, workers=WORKERS)


class Controller(Generic[T]):
    """Keeps objects of the class `cls` at their size. What is decided is decided about the ReplicaSet that `as_set`
    makes of such an object; what is made belongs to the object itself."""

    def __init__(self, context: Context, cls: type[T], as_set: Callable[[T], ReplicaSet]) -> None:
        self._context = context
        self._cls = cls
        self._as_set = as_set
        self._owners = context.informers.of(cls)
        self._pods = context.informers.of(Pod)
        self._pending = Pending()
        self._control = PodControl(context, self._pending)
        self.queue = KeyedQueue()

    def subscribe(self) -> None:
        self._owners.subscribe(self._owner_changed)
        self._pods.subscribe(self._pod_changed)

    def _owner_changed(self, key: str, old: T | None, new: T | None) -> None:
        if new is None and old is not None:
            self._pending.forget(old.metadata.uid)
        self.queue.add(key)

    def _pod_changed(self, key: str, old: Pod | None, new: Pod | None) -> None:
        for pod in (old, new):
            owner = pod.controller() if pod is not None else None
            if pod is not None and owner is not None and owner.kind == self._cls.resource.kind:
                if new is None or new.metadata.deletion_timestamp is not None:
                    self._pending.gone(owner.uid, key)
                else:
                    self._pending.seen(owner.uid, key)
                self.queue.add(f"{pod.metadata.namespace}/{owner.name}")
        if new is not None and new.controller() is None:
            for candidate in self._owners.by_index(NAMESPACE, new.metadata.namespace):
                if matches(self._as_set(candidate).spec.selector, new.metadata.labels):
                    self.queue.add(candidate.key)

    async def reconcile(self, key: str) -> float | None:
        owner = self._owners.get(key)
        if owner is None:
            return None
        replica_set, uid = self._as_set(owner), owner.metadata.uid
        pods = self._pods.by_index(OWNER, uid)
        pods += self._pods.by_index(OWNER, without_owner(owner.namespace))
        seen = not self._pending.outstanding(uid)
        plan = decide(replica_set, pods, may_scale=seen)
        await settle(self._context.client, owner, plan.claimed)
        template = replica_set.spec.template
        failure = await self._control.create(owner, plan.create, lambda _: new_pod(owner, template))
        failure = await self._control.delete(owner, plan.delete) or failure
        patch, wait = status(
            replica_set,
            plan.active,
            failure and failure[:2],
            self._context.now(),
            seen=seen,
            terminating=plan.terminating if self._cls is ReplicaSet else None,
        )
        if patch:
            try:
                await self._context.client.patch(
                    self._cls,
                    owner.name,
                    owner.namespace,
                    {"metadata": {"uid": uid}, "status": patch},
                    subresource="status",
                )
            except NotFound:
                # Gone meanwhile, and the informer is about to say so.
                return None
        if failure is not None:
            raise failure.error
        return wait
