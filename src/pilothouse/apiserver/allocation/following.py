"""What is derived from all objects of a collection, kept up with the store's changes one by one."""

from __future__ import annotations

from collections.abc import Callable
from typing import Generic, Protocol, TypeVar

from pilothouse.apiserver import codec
from pilothouse.machinery.objects import Obj
from pilothouse.store.store import Compacted, Store, WatchEnded, Watcher


class Derived(Protocol):
    """Something that objects are added to and removed from."""

    def add(self, obj: Obj) -> None: ...

    def remove(self, obj: Obj) -> None: ...


D = TypeVar("D", bound=Derived)


class Following(Generic[D]):
    """`current` is made by `fresh` and holds every object of the collection after `catch_up`."""

    def __init__(self, store: Store, collection: str, fresh: Callable[[], D]) -> None:
        self._store = store
        self._collection = collection
        self._fresh = fresh
        self._watcher: Watcher | None = None
        self._seen = 0
        self.current = fresh()

    async def catch_up(self) -> D:
        """Reads what changed since the last time: everything when the changes are no longer known."""
        changed = self._store.changed(self._collection)
        while self._watcher is None or self._seen < changed:
            if self._watcher is None:
                self._rebuild()
                break
            try:
                events = await self._watcher.next()
            except (WatchEnded, Compacted):
                self._watcher = None
                continue
            for event in events:
                if event.previous is not None:
                    self.current.remove(codec.decode(event.previous.value))
                if not event.deleted:
                    self.current.add(codec.decode(event.value))
                self._seen = event.revision
        return self.current

    def _rebuild(self) -> None:
        self.current = self._fresh()
        for record in self._store.list(self._collection):
            self.current.add(codec.decode(record.value))
        self._seen = self._store.changed(self._collection)
        self._watcher = self._store.watch(self._collection, self._store.revision)
