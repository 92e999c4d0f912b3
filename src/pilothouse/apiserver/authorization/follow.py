"""An index that is brought up to the store's present whenever it is asked something, and costs nothing in between."""

from __future__ import annotations

from collections.abc import Callable

from pilothouse.apiserver import codec
from pilothouse.machinery.objects import Resource
from pilothouse.store.store import Store, WatchEnded, Watcher

Apply = Callable[[str, bytes | None], None]
"""Takes `namespace/name` (or `name`) and the stored bytes, None when the object is gone."""


class Follower:
    """Feeds every change of one kind to `apply`, in order.

    Nothing runs between questions, so the subscription may be cut when very many changes pile up; then all is read
    afresh, after `reset`.
    """

    def __init__(self, store: Store, resource: Resource, apply: Apply, reset: Callable[[], None]) -> None:
        self._store = store
        self._prefix = codec.collection(resource)
        self._apply = apply
        self._reset = reset
        self._watcher: Watcher | None = None
        self._seen = -1

    async def catch_up(self) -> bool:
        """Whether anything changed since the last call. By its return `apply` has seen all that readers can see."""
        if self._watcher is None:
            self._load()
            return True
        if self._store.changed(self._prefix) <= self._seen:
            return False
        try:
            events = await self._watcher.next(0)
        except WatchEnded:
            self._load()
            return True
        for event in events:
            self._apply(event.key[len(self._prefix) :], None if event.deleted else event.value)
            self._seen = event.revision
        return True

    def _load(self) -> None:
        self._reset()
        self._seen = self._store.revision
        self._watcher = self._store.watch(self._prefix, self._seen)
        for record in self._store.list(self._prefix):
            self._apply(record.key[len(self._prefix) :], record.value)
