"""Findings in memory, read as a store is: rows, a window of recent changes, watchers.

Rows are kept in place of documents, which are four times as large; a document is made when it is read. What a list
returns holds on to the rows as they were, so it is consistent however long it is read.
"""

from __future__ import annotations

from bisect import bisect_left, insort
from collections.abc import Iterable, Iterator, Sequence
from typing import overload

from pilothouse.guard.findings.model import PREFIX, Row
from pilothouse.guard.findings.render import record_of
from pilothouse.machinery.errors import MethodNotAllowed
from pilothouse.store.state import State
from pilothouse.store.store import Compacted, Event, Record, Watcher


class Rendered(Sequence[Record]):
    """Records of rows, made as they are asked for."""

    def __init__(self, rows: Sequence[Row]) -> None:
        self._rows = rows

    def __len__(self) -> int:
        return len(self._rows)

    @overload
    def __getitem__(self, index: int) -> Record: ...
    @overload
    def __getitem__(self, index: slice) -> Sequence[Record]: ...
    def __getitem__(self, index: int | slice) -> Record | Sequence[Record]:
        if isinstance(index, slice):
            return Rendered(self._rows[index])
        return record_of(self._rows[index])

    def __iter__(self) -> Iterator[Record]:
        return map(record_of, self._rows)


class _Changes(State):
    """The window and the watchers alone, without records."""

    @property
    def recent(self) -> Iterable[Event]:
        """The changes that are known, newest first."""
        return reversed(self._window)

    def tell(self, event: Event) -> None:
        self.revision = event.revision
        self._window.append(event)
        self._window_bytes += len(event.value)
        for watcher in list(self._collection(PREFIX).watchers):
            if event.key.startswith(watcher.prefix):
                watcher.feed(event)
        self._trim()


class FindingState:
    """A `Store` that can only be read; see the module. `put` and `remove` are for the one writer."""

    def __init__(self) -> None:
        self.rows: dict[str, Row] = {}
        self._keys: list[str] = []
        self._changes = _Changes()

    @property
    def revision(self) -> int:
        return self._changes.revision

    @property
    def compacted(self) -> int:
        return self._changes.compacted

    @property
    def problem(self) -> str:
        return ""

    def start(self, rows: Iterable[Row], revision: int) -> None:
        """Takes what a database held; changes from before are not known."""
        self.rows = {row.key: row for row in rows}
        self._keys = sorted(self.rows)
        self._changes.revision = self._changes.compacted = revision

    def get(self, key: str) -> Record | None:
        row = self.rows.get(key)
        return record_of(row) if row is not None else None

    def select(self, prefix: str = PREFIX) -> Sequence[Row]:
        """The rows of a prefix, by key."""
        low, high = bisect_left(self._keys, prefix), bisect_left(self._keys, prefix + "\U0010ffff")
        return [self.rows[key] for key in self._keys[low:high]]

    def list(self, prefix: str) -> Sequence[Record]:
        return Rendered(self.select(prefix))

    def list_at(self, prefix: str, revision: int) -> Sequence[Record]:
        if revision >= self.revision:
            return self.list(prefix)
        if revision < self.compacted:
            raise Compacted(revision, self.compacted)
        records = {record.key: record for record in self.list(prefix)}
        for event in self._changes.recent:
            if event.revision <= revision:
                break
            if event.key.startswith(prefix):
                if event.previous is None:
                    records.pop(event.key, None)
                else:
                    records[event.key] = event.previous
        return [records[key] for key in sorted(records)]

    def changed(self, collection: str) -> int:
        return self.revision

    def put(self, rows: Iterable[Row]) -> None:
        """Makes rows current, each under its own revision, and tells the watchers."""
        for row in rows:
            old = self.rows.get(row.key)
            if old is None:
                insort(self._keys, row.key)
            self.rows[row.key] = row
            previous = record_of(old) if old is not None else None
            self._changes.tell(Event(row.revision, row.key, record_of(row).value, previous, False))

    def remove(self, rows: Iterable[Row]) -> None:
        """Takes rows away; each carries the revision of its end."""
        for row in rows:
            old = self.rows.pop(row.key)
            del self._keys[bisect_left(self._keys, row.key)]
            self._changes.tell(Event(row.revision, row.key, record_of(row).value, record_of(old), True))

    def watch(self, prefix: str, after: int) -> Watcher:
        return self._changes.watch(prefix, after)

    async def create(self, key: str, value: bytes) -> Record:
        raise MethodNotAllowed("findings can only be read")

    async def update(self, key: str, value: bytes, expected: int) -> Record:
        raise MethodNotAllowed("findings can only be read")

    async def delete(self, key: str, expected: int) -> Record:
        raise MethodNotAllowed("findings can only be read")

    async def close(self) -> None:
        self._changes.close()
