"""Rows in the order of their keys, of which a moment can be kept at no cost. Pure.

They are held in chunks that are replaced and never written to, so that whoever holds the chunks of a moment reads that
moment, however long it takes, while a change costs one chunk whatever the number of rows.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Iterator, Sequence
from itertools import accumulate
from operator import attrgetter
from typing import Final, overload

from pilothouse.guard.findings.model import Row

CHUNK: Final = 256
"""Rows of a chunk; it is split at twice as many."""
_Chunk = tuple[Row, ...]
_KEY: Final = attrgetter("key")


class Rows(Sequence[Row]):
    """The rows of a moment, or a part of them."""

    def __init__(self, chunks: Sequence[_Chunk]) -> None:
        self.chunks = chunks
        self._ends = list(accumulate(map(len, chunks)))

    def __len__(self) -> int:
        return self._ends[-1] if self._ends else 0

    def __iter__(self) -> Iterator[Row]:
        for chunk in self.chunks:
            yield from chunk

    @overload
    def __getitem__(self, index: int) -> Row: ...
    @overload
    def __getitem__(self, index: slice) -> Rows: ...
    def __getitem__(self, index: int | slice) -> Row | Rows:
        if isinstance(index, int):
            place = range(len(self))[index]
            at = bisect_right(self._ends, place)
            return self.chunks[at][place - self._ends[at]]
        start, stop, step = index.indices(len(self))
        if step != 1:
            return Rows([tuple(self[place] for place in range(start, stop, step))])
        return self._between(start, max(start, stop))

    def _between(self, start: int, stop: int) -> Rows:
        first, last = bisect_right(self._ends, start), bisect_left(self._ends, stop)
        parts = []
        for at in range(first, min(last + 1, len(self.chunks))):
            begin = self._ends[at] - len(self.chunks[at])
            parts.append(self.chunks[at][max(start - begin, 0) : stop - begin])
        return Rows([part for part in parts if part])

    def place(self, key: str) -> int:
        """How many rows have a lesser key."""
        at = bisect_left(self.chunks, key, key=_last)
        if at == len(self.chunks):
            return len(self)
        return self._ends[at] - len(self.chunks[at]) + bisect_left(self.chunks[at], key, key=_KEY)

    def under(self, prefix: str) -> Rows:
        """The rows whose key begins so."""
        return self[self.place(prefix) : self.place(prefix + "\U0010ffff")]


class OrderedRows:
    """Rows that change; `now` is this moment of them."""

    def __init__(self, rows: Iterable[Row] = ()) -> None:
        every = sorted(rows, key=_KEY)
        self._chunks: list[_Chunk] = [tuple(every[at : at + CHUNK]) for at in range(0, len(every), CHUNK)]

    @classmethod
    def of(cls, rows: Rows) -> OrderedRows:
        """Rows that begin as those of a moment."""
        made = cls()
        made._chunks = list(rows.chunks)
        return made

    @property
    def now(self) -> Rows:
        return Rows(tuple(self._chunks))

    def put(self, row: Row) -> None:
        """Adds a row, or replaces the one of its key."""
        at, place, there = self._find(row.key)
        chunk = self._chunks[at] if self._chunks else ()
        fresh = (*chunk[:place], row, *chunk[place + there :])
        halves = [fresh] if len(fresh) < 2 * CHUNK else [fresh[:CHUNK], fresh[CHUNK:]]
        self._chunks[at : at + 1] = halves

    def remove(self, key: str) -> None:
        """Takes a row away. Raises KeyError."""
        at, place, there = self._find(key)
        if not there:
            raise KeyError(key)
        chunk = self._chunks[at]
        rest = (*chunk[:place], *chunk[place + 1 :])
        self._chunks[at : at + 1] = [rest] if rest else []

    def _find(self, key: str) -> tuple[int, int, bool]:
        """The chunk a key belongs to, its place there, and whether a row is there."""
        if not self._chunks:
            return 0, 0, False
        at = min(bisect_left(self._chunks, key, key=_last), len(self._chunks) - 1)
        chunk = self._chunks[at]
        place = bisect_left(chunk, key, key=_KEY)
        return at, place, place < len(chunk) and chunk[place].key == key


def _last(chunk: _Chunk) -> str:
    return chunk[-1].key
