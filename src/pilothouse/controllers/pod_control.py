"""Making and deleting an owner's pods: in batches, with events, and with notes of what the informer has yet to show."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from typing import NamedTuple

from pilothouse.controllers.context import Context
from pilothouse.controllers.names import random_suffix
from pilothouse.controllers.pending import Pending
from pilothouse.controllers.pods import pod_from_template
from pilothouse.kinds.core.pod import Pod
from pilothouse.kinds.view import Object, to_tree
from pilothouse.machinery.errors import ApiError, NotFound
from pilothouse.machinery.objects import Obj

_FIRST_BATCH = 1
_AT_ONCE = 16
"""Requests under way at most for one owner: enough for the store to commit them together, and few enough that the event
loop comes round to others between them."""
_POD_NAME_PREFIX = 58
"""A generated pod name is cut here before its suffix, to stay within 63 characters."""


class Failure(NamedTuple):
    """The first request of a pass that was refused."""

    reason: str
    message: str
    error: ApiError


def new_pod(owner: Object, template: Obj) -> Obj:
    """The tree of a pod with a name of its own."""
    prefix = f"{owner.name}-"[:_POD_NAME_PREFIX]
    return pod_from_template(template, to_tree(owner.as_owner()), prefix, prefix + random_suffix())


class PodControl:
    """`pending` is shared with the controller, which tells it what the informer shows."""

    def __init__(self, context: Context, pending: Pending) -> None:
        self._context = context
        self._pending = pending

    async def create(self, owner: Object, count: int, make: Callable[[int], Obj]) -> Failure | None:
        """Makes `count` pods, the n-th from `make(n)`, in batches of 1, 2, 4, … so that a refusal costs little."""
        done, batch = 0, _FIRST_BATCH
        while done < count:
            batch = min(batch, count - done)
            trees = [make(done + index) for index in range(batch)]
            errors = await asyncio.gather(*(self._create_one(owner, tree) for tree in trees))
            error = next((error for error in errors if error is not None), None)
            if error is not None:
                self._context.events.event(owner, "Warning", "FailedCreate", f"Error creating: {error.message}")
                return Failure("FailedCreate", error.message, error)
            done += batch
            batch = min(batch * 2, _AT_ONCE)
        return None

    async def _create_one(self, owner: Object, tree: Obj) -> ApiError | None:
        name, uid = tree["metadata"]["name"], owner.metadata.uid
        pod_key = f"{owner.namespace}/{name}"
        self._pending.creating(uid, pod_key)
        try:
            await self._context.client.create_tree(Pod.resource, tree, owner.namespace)
        except ApiError as error:
            self._pending.seen(uid, pod_key)
            return error
        except BaseException:
            self._pending.seen(uid, pod_key)
            raise
        self._context.events.event(owner, "Normal", "SuccessfulCreate", f"Created pod: {name}")
        return None

    async def delete(self, owner: Object, pods: Sequence[Pod]) -> Failure | None:
        """Deletes pods; those that are gone already count as deleted."""
        for start in range(0, len(pods), _AT_ONCE):
            batch = pods[start : start + _AT_ONCE]
            errors = await asyncio.gather(*(self._delete_one(owner, pod) for pod in batch))
            error = next((error for error in errors if error is not None), None)
            if error is not None:
                return Failure("FailedDelete", error.message, error)
        return None

    async def _delete_one(self, owner: Object, pod: Pod) -> ApiError | None:
        uid, events = owner.metadata.uid, self._context.events
        self._pending.deleting(uid, pod.key)
        try:
            await self._context.client.delete(Pod, pod.name, pod.namespace, uid=pod.metadata.uid)
        except NotFound:
            self._pending.gone(uid, pod.key)
            return None
        except ApiError as error:
            self._pending.gone(uid, pod.key)
            events.event(owner, "Warning", "FailedDelete", f"Error deleting: {error.message}")
            return error
        events.event(owner, "Normal", "SuccessfulDelete", f"Deleted pod: {pod.name}")
        return None
