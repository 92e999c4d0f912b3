"""Carries out what `decide` says about ReplicaSets."""

from __future__ import annotations

import asyncio

from pilothouse.client.shared import NAMESPACE, OWNER, without_owner
from pilothouse.controllers.context import Context
from pilothouse.controllers.names import random_suffix
from pilothouse.controllers.ownership import settle
from pilothouse.controllers.pending import Pending
from pilothouse.controllers.pods import pod_from_template
from pilothouse.controllers.replica_set.decide import decide, status
from pilothouse.kinds.apps.replica_set import ReplicaSet
from pilothouse.kinds.core.pod import Pod
from pilothouse.kinds.view import to_tree
from pilothouse.machinery.errors import ApiError, NotFound
from pilothouse.reconcile.labels import matches
from pilothouse.reconcile.queue import KeyedQueue, work

NAME = "replicaset-controller"
WORKERS = 4
_FIRST_BATCH = 1
_AT_ONCE = 16
"""Requests under way at most for one set: enough for the store to commit them together, and few enough that the event
loop comes round to others between them."""
_POD_NAME_PREFIX = 58
"""A generated pod name is cut here before its suffix, to stay within 63 characters."""


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
        failure = await self._create(replica_set, plan.create)
        failure = await self._delete(replica_set, plan.delete) or failure
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
            raise failure[2]
        return wait

    async def _create(self, replica_set: ReplicaSet, count: int) -> tuple[str, str, ApiError] | None:
        """Makes `count` pods in batches of 1, 2, 4, … so that a refusal costs few requests; returns the first one."""
        batch = _FIRST_BATCH
        while count > 0:
            batch = min(batch, count)
            errors = await asyncio.gather(*(self._create_one(replica_set) for _ in range(batch)))
            error = next((error for error in errors if error is not None), None)
            if error is not None:
                self._context.events.event(replica_set, "Warning", "FailedCreate", f"Error creating: {error.message}")
                return "FailedCreate", error.message, error
            count -= batch
            batch = min(batch * 2, _AT_ONCE)
        return None

    async def _create_one(self, replica_set: ReplicaSet) -> ApiError | None:
        prefix = f"{replica_set.name}-"[:_POD_NAME_PREFIX]
        name = prefix + random_suffix()
        uid, pod_key = replica_set.metadata.uid, f"{replica_set.namespace}/{name}"
        tree = pod_from_template(replica_set.spec.template, to_tree(replica_set.as_owner()), prefix, name)
        self._pending.creating(uid, pod_key)
        try:
            await self._context.client.create_tree(Pod.resource, tree, replica_set.namespace)
        except ApiError as error:
            self._pending.seen(uid, pod_key)
            return error
        except BaseException:
            self._pending.seen(uid, pod_key)
            raise
        self._context.events.event(replica_set, "Normal", "SuccessfulCreate", f"Created pod: {name}")
        return None

    async def _delete(self, replica_set: ReplicaSet, pods: list[Pod]) -> tuple[str, str, ApiError] | None:
        for start in range(0, len(pods), _AT_ONCE):
            batch = pods[start : start + _AT_ONCE]
            errors = await asyncio.gather(*(self._delete_one(replica_set, pod) for pod in batch))
            error = next((error for error in errors if error is not None), None)
            if error is not None:
                return "FailedDelete", error.message, error
        return None

    async def _delete_one(self, replica_set: ReplicaSet, pod: Pod) -> ApiError | None:
        uid, events = replica_set.metadata.uid, self._context.events
        self._pending.deleting(uid, pod.key)
        try:
            await self._context.client.delete(Pod, pod.name, pod.namespace, uid=pod.metadata.uid)
        except NotFound:
            self._pending.gone(uid, pod.key)
            return None
        except ApiError as error:
            self._pending.gone(uid, pod.key)
            events.event(replica_set, "Warning", "FailedDelete", f"Error deleting: {error.message}")
            return error
        events.event(replica_set, "Normal", "SuccessfulDelete", f"Deleted pod: {pod.name}")
        return None
