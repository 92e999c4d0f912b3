"""Informers shared by the components of one process: a collection is watched and held once, however many read it."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from typing import Any, TypeVar, cast

from pilothouse.client.client import Client
from pilothouse.client.informer import Indexer, Informer
from pilothouse.kinds.core.pod import Pod
from pilothouse.kinds.view import Object
from pilothouse.machinery.objects import Resource

T = TypeVar("T", bound=Object)

NAMESPACE = "namespace"
OWNER = "owner"
"""Index by the uid of the controlling owner; objects without one are under `without_owner(namespace)`."""
NODE = "node"
"""Index of pods by the node they are bound to ("" for none)."""


def without_owner(namespace: str) -> str:
    """The value of the index `OWNER` for what nobody controls in a namespace."""
    return f"/{namespace}"


def _namespace(obj: Object) -> Iterable[str]:
    return (obj.metadata.namespace,)


def _owner(obj: Object) -> Iterable[str]:
    owner = obj.controller()
    return (owner.uid if owner is not None else without_owner(obj.metadata.namespace),)


def _node(pod: Pod) -> Iterable[str]:
    return (pod.spec.node_name or "",)


class SharedInformers:
    """Hands out one informer for each view and runs them all.

    Every informer has the indexes `NAMESPACE` and `OWNER`, that of pods also `NODE`. An informer may be asked for
    before `run` or while it runs.
    """

    def __init__(self, client: Client) -> None:
        self._client = client
        self._informers: dict[type[Object], Informer[Any]] = {}
        self._group: asyncio.TaskGroup | None = None
        self._running: dict[type[Object], asyncio.Task[None]] = {}

    def of(self, cls: type[T]) -> Informer[T]:
        """The informer of that view, made at the first call."""
        informer = self._informers.get(cls)
        if informer is None:
            indexers: dict[str, Indexer[Any]] = {NAMESPACE: _namespace, OWNER: _owner}
            if cls is Pod:
                indexers[NODE] = _node
            informer = self._informers[cls] = Informer(self._client, cls, indexers=indexers)
            if self._group is not None:
                self._running[cls] = self._group.create_task(informer.run())
        return cast("Informer[T]", informer)

    def holding(self, resource: Resource) -> Informer[Any] | None:
        """An informer of that resource, if a component asked for one already, whatever its view."""
        return next((i for cls, i in self._informers.items() if cls.resource == resource), None)

    def drop(self, cls: type[Object]) -> None:
        """Forgets the informer of a view whose kind is not served any more; its subscribers hear nothing further."""
        self._informers.pop(cls, None)
        task = self._running.pop(cls, None)
        if task is not None:
            task.cancel()

    async def run(self) -> None:
        """Runs every informer until cancelled."""
        async with asyncio.TaskGroup() as group:
            self._group = group
            try:
                for cls, informer in list(self._informers.items()):
                    self._running[cls] = group.create_task(informer.run())
                await asyncio.Event().wait()
            finally:
                self._group = None
                self._running.clear()

    async def synced(self, *classes: type[Object]) -> None:
        """Waits until the first lists of these kinds are in."""
        for cls in classes:
            await self.of(cls).synced()
