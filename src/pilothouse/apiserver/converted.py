"""The store as a version of a kind sees it that is not the one stored: converted on its way in and out.

Verbs need not know: they are handed this store for such a kind. Events are converted for each watcher, as few watch a
version that is not the preferred one. Forms: `TwoVersions` of a built-in kind here, custom resources in `versions.py`.
"""

from __future__ import annotations

import builtins
from collections.abc import Callable, Sequence
from typing import Protocol

from pilothouse.apiserver import codec
from pilothouse.kinds.kind import StoredAs
from pilothouse.machinery.objects import Resource
from pilothouse.store.store import Event, Record, Store, WatchEnded, Watcher, splice


class Forms(Protocol):
    """Between the form that is served and the one that is stored."""

    def inner_key(self, key: str) -> str:
        """The key (or prefix, or collection) under which the store has it."""

    def inward(self, value: bytes) -> bytes:
        """Bytes to store."""

    def record(self, record: Record) -> Record: ...

    def event(self, event: Event) -> Event: ...


class TwoVersions:
    """Between the two forms of one kind, keys and bytes."""

    def __init__(self, served: Resource, stored: StoredAs) -> None:
        self._stored = stored
        self._outer, self._inner = codec.collection(served), codec.collection(stored.kind.resource)

    def inner_key(self, key: str) -> str:
        return self._inner + key.removeprefix(self._outer)

    def outer_key(self, key: str) -> str:
        return self._outer + key.removeprefix(self._inner)

    def inward(self, value: bytes) -> bytes:
        return codec.encode(self._stored.to_stored(codec.decode(value)))

    def outward(self, value: bytes, revision: int) -> bytes:
        return splice(codec.encode(self._stored.from_stored(codec.decode(value))), revision)

    def record(self, record: Record) -> Record:
        return Record(self.outer_key(record.key), record.revision, self.outward(record.value, record.revision))

    def event(self, event: Event) -> Event:
        previous = None if event.previous is None else self.record(event.previous)
        value = self.outward(event.value, event.revision)
        return Event(event.revision, self.outer_key(event.key), value, previous, event.deleted)


class ConvertedStore:
    """A `Store` of objects in the form served. Watches end once the form is `current` no more."""

    def __init__(self, store: Store, forms: Forms, current: Callable[[], bool] = lambda: True) -> None:
        self._store = store
        self._forms = forms
        self._current = current

    @property
    def revision(self) -> int:
        return self._store.revision

    @property
    def compacted(self) -> int:
        return self._store.compacted

    @property
    def problem(self) -> str:
        return self._store.problem

    def get(self, key: str) -> Record | None:
        record = self._store.get(self._forms.inner_key(key))
        return None if record is None else self._forms.record(record)

    def list(self, prefix: str) -> Sequence[Record]:
        return [self._forms.record(record) for record in self._store.list(self._forms.inner_key(prefix))]

    def list_at(self, prefix: str, revision: int) -> Sequence[Record]:
        found = self._store.list_at(self._forms.inner_key(prefix), revision)
        return [self._forms.record(record) for record in found]

    def changed(self, collection: str) -> int:
        return self._store.changed(self._forms.inner_key(collection))

    def count(self, collection: str) -> int:
        return self._store.count(self._forms.inner_key(collection))

    def watch(self, prefix: str, after: int) -> Watcher:
        return _ConvertedWatcher(self._store.watch(self._forms.inner_key(prefix), after), self._forms, self._current)

    async def create(self, key: str, value: bytes) -> Record:
        return self._forms.record(await self._store.create(self._forms.inner_key(key), self._forms.inward(value)))

    async def update(self, key: str, value: bytes, expected: int) -> Record:
        inner = self._forms.inner_key(key)
        return self._forms.record(await self._store.update(inner, self._forms.inward(value), expected))

    async def delete(self, key: str, expected: int) -> Record:
        return self._forms.record(await self._store.delete(self._forms.inner_key(key), expected))

    async def close(self) -> None:
        await self._store.close()


class _ConvertedWatcher:
    def __init__(self, watcher: Watcher, forms: Forms, current: Callable[[], bool]) -> None:
        self._watcher = watcher
        self._forms = forms
        self._current = current

    async def next(self, timeout: float | None = None) -> builtins.list[Event]:
        events = await self._watcher.next(timeout)
        if not self._current():
            raise WatchEnded
        return [self._forms.event(event) for event in events]

    def close(self) -> None:
        self._watcher.close()
