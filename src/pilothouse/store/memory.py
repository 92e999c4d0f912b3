"""A store that forgets everything when it ends; for component tests and trials."""

from __future__ import annotations

from collections.abc import Sequence

from pilothouse.store.state import WINDOW_BYTES, WINDOW_EVENTS, State
from pilothouse.store.store import Event, KeyExists, Record, RevisionMismatch, StoreClosed, Watcher, resplice, splice


class MemoryStore:
    """See `Store`; window limits are for tests."""

    def __init__(self, *, window_events: int = WINDOW_EVENTS, window_bytes: int = WINDOW_BYTES) -> None:
        self._state = State(window_events=window_events, window_bytes=window_bytes)
        self._closed = False

    @property
    def revision(self) -> int:
        return self._state.revision

    @property
    def compacted(self) -> int:
        return self._state.compacted

    @property
    def problem(self) -> str:
        return ""

    def get(self, key: str) -> Record | None:
        return self._state.get(key)

    def list(self, prefix: str) -> Sequence[Record]:
        return self._state.list(prefix)

    def list_at(self, prefix: str, revision: int) -> Sequence[Record]:
        return self._state.list_at(prefix, revision)

    def changed(self, collection: str) -> int:
        return self._state.changed(collection)

    def count(self, collection: str) -> int:
        return self._state.count(collection)

    def watch(self, prefix: str, after: int) -> Watcher:
        return self._state.watch(prefix, after)

    def _next(self) -> int:
        if self._closed:
            raise StoreClosed("the store is closed")
        return self._state.revision + 1

    async def create(self, key: str, value: bytes) -> Record:
        revision = self._next()
        if self._state.get(key) is not None:
            raise KeyExists(key)
        return self._put(Event(revision, key, splice(value, revision), None, False))

    async def update(self, key: str, value: bytes, expected: int) -> Record:
        revision = self._next()
        return self._put(Event(revision, key, splice(value, revision), self._expect(key, expected), False))

    async def delete(self, key: str, expected: int) -> Record:
        revision = self._next()
        old = self._expect(key, expected)
        return self._put(Event(revision, key, resplice(old.value, old.revision, revision), old, True))

    def _expect(self, key: str, expected: int) -> Record:
        old = self._state.get(key)
        if old is None or old.revision != expected:
            raise RevisionMismatch(key)
        return old

    def _put(self, event: Event) -> Record:
        self._state.publish([event])
        return Record(event.key, event.revision, event.value)

    async def close(self) -> None:
        self._closed = True
        self._state.close()
