"""Findings in memory, read as a store is: rows, a window of recent changes, watchers.

Rows are kept in place of documents, which are four times as large; a document is made when it is read. What a list
returns is of one moment, however long it is read.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Iterator, Sequence
from typing import Final, overload

from pilothouse.guard.findings.changes import Change, Changes
from pilothouse.guard.findings.facts import Choice
from pilothouse.guard.findings.model import PREFIX, Row
from pilothouse.guard.findings.ordered import OrderedRows, Rows
from pilothouse.guard.findings.render import record_of
from pilothouse.machinery.errors import MethodNotAllowed
from pilothouse.machinery.selectors import FieldSelector, Selector
from pilothouse.store.store import Record, Watcher

_SLICE: Final = 5_000
"""Rows judged before other work gets its turn: about two milliseconds."""
_MOMENTS: Final = 4
"""Past moments that are kept for whoever reads the next page of one."""


class Rendered(Sequence[Record]):
    """Records of rows, made as they are asked for; a list that is `Narrowable`."""

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

    async def narrowed(self, labels: Selector | None, fields: FieldSelector | None, most: int = 0) -> Sequence[Record]:
        chosen = Choice(labels, fields)
        found: list[Row] = []
        for start in range(0, len(self._rows), _SLICE):
            found += filter(chosen, self._rows[start : start + _SLICE])
            if most and len(found) >= most:
                return Rendered(found[:most])
            await asyncio.sleep(0)
        return Rendered(found)


class FindingState:
    """A `Store` that can only be read; see the module. `put` and `remove` are for the one writer."""

    def __init__(self) -> None:
        self.rows: dict[str, Row] = {}
        self._ordered = OrderedRows()
        self._moments: dict[int, Rows] = {}
        self._changes = Changes()

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
        self._ordered = OrderedRows(self.rows.values())
        self._changes.start(revision)

    def get(self, key: str) -> Record | None:
        row = self.rows.get(key)
        return record_of(row) if row is not None else None

    def select(self, prefix: str = PREFIX) -> Rows:
        """The rows of a prefix, by key, as they are now and stay."""
        return self._ordered.now.under(prefix)

    def list(self, prefix: str) -> Sequence[Record]:
        return Rendered(self.select(prefix))

    def list_at(self, prefix: str, revision: int) -> Sequence[Record]:
        if revision >= self.revision:
            return self.list(prefix)
        return Rendered(self._moment(revision).under(prefix))

    def _moment(self, revision: int) -> Rows:
        """The rows as they were: those of now, with the changes since undone."""
        known = self._moments.get(revision)
        if known is None:
            past = OrderedRows.of(self._ordered.now)
            for change in self._changes.since(revision):
                if change.old is None:
                    past.remove(change.new.key)
                else:
                    past.put(change.old)
            known = self._moments[revision] = past.now
            if len(self._moments) > _MOMENTS:
                del self._moments[next(iter(self._moments))]
        return known

    def changed(self, collection: str) -> int:
        return self.revision

    def count(self, collection: str) -> int:
        return len(self.rows)

    def put(self, rows: Iterable[Row]) -> None:
        """Makes rows current, each under its own revision, and tells the watchers."""
        for row in rows:
            old = self.rows.get(row.key)
            self.rows[row.key] = row
            self._ordered.put(row)
            self._changes.tell(Change(old, row))

    def remove(self, rows: Iterable[Row]) -> None:
        """Takes rows away; each carries the revision of its end."""
        for row in rows:
            old = self.rows.pop(row.key)
            self._ordered.remove(row.key)
            self._changes.tell(Change(old, row, deleted=True))

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
