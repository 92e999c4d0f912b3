"""Takes one feed into the data base: what is new or changed is written, what is gone removed, the rest not touched."""

from __future__ import annotations

import sqlite3
import struct
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Final

from pilothouse.guard.images.data.base import Base
from pilothouse.guard.images.data.records import Advisory, Affected, packed
from pilothouse.guard.images.model import NotReadable

RISK: Final = "risk-generation"
"""The generation that last changed EPSS scores or the list of exploited vulnerabilities."""
_SHRINK: Final = 0.5
_FEW: Final = 500
"""A feed of at least so many records that loses more than half of them is taken for broken."""

Parsed = tuple[Advisory, list[Affected]]


@dataclass(slots=True)
class Counts:
    """What an update did to a feed's records."""

    added: int = 0
    changed: int = 0
    removed: int = 0
    same: int = 0
    broken: int = 0
    broken_example: str = ""

    @property
    def records(self) -> int:
        """Records the feed has now."""
        return self.added + self.changed + self.same


@dataclass(frozen=True, slots=True)
class Origin:
    """Where a feed came from, kept for the next time."""

    url: str = ""
    etag: str = ""
    modified: str = ""
    digest: str = ""


def forget(base: Base, feed: str) -> int:
    """Removes a feed with all its records; how many there were. Raises KeyError for one that is not there."""
    with Writer(base, feed, "") as writer:
        if not writer.known:
            raise KeyError(feed)
        return writer.clear()


class Writer:
    """One transaction over one feed; on leaving by an error nothing has happened."""

    def __init__(self, base: Base, feed: str, kind: str) -> None:
        self._base = base
        self._name = feed
        self._kind = kind
        self.counts = Counts()
        self._seen = bytearray()
        self._touched: set[int] = set()
        self._packages: dict[tuple[str, str], int] = {}

    def __enter__(self) -> Writer:
        self._base.lock.acquire()
        try:
            self._cursor = self._base.connection.cursor()
            self._cursor.execute("BEGIN IMMEDIATE")
            row = self._cursor.execute("SELECT 1 FROM feed WHERE name = ?", (self._name,)).fetchone()
            self._known = row is not None
            self._cursor.execute("INSERT OR IGNORE INTO feed (name) VALUES (?)", (self._name,))
            self._feed, self._before = self._cursor.execute(
                "SELECT id, records FROM feed WHERE name = ?", (self._name,)
            ).fetchone()
        except sqlite3.Error as error:
            self._base.lock.release()
            raise NotReadable(f"the vulnerability data base cannot be written: {error}") from error
        return self

    def __exit__(self, kind: object, error: object, trace: object) -> None:
        try:
            if self._base.connection.in_transaction:
                self._base.connection.execute("ROLLBACK")
        finally:
            self._base.lock.release()

    def put(self, ident: str, digest: bytes, parse: Callable[[], Parsed | None]) -> None:
        """Takes a record in; `digest` tells whether it is the one there is, and only then it is not parsed."""
        row = self._cursor.execute(
            "SELECT id, digest, packages FROM advisory WHERE feed = ? AND ident = ?", (self._feed, ident)
        ).fetchone()
        if row is not None and row[1] == digest:
            self._see(row[0])
            self.counts.same += 1
            return
        parsed = parse()
        if parsed is None:
            return
        advisory, affected = parsed
        if row is not None:
            self._remove(row[0], row[2])
            self.counts.changed += 1
        else:
            self.counts.added += 1
        packages = [(self._package(entry.ecosystem, entry.package), entry) for entry in affected]
        ids = struct.pack(f"<{len(packages)}I", *(number for number, _ in packages))
        self._cursor.execute(
            "INSERT INTO advisory (id, feed, ident, digest, packages, body) VALUES (?, ?, ?, ?, ?, ?)",
            (row[0] if row is not None else None, self._feed, ident, digest, ids, packed(advisory)),
        )
        number = self._cursor.lastrowid
        assert number is not None
        self._see(number)
        self._cursor.executemany(
            "INSERT INTO affects VALUES (?, ?, ?)",
            [(package, number, packed(entry.rule)) for package, entry in packages],
        )
        self._touched.update(package for package, _ in packages)

    @property
    def known(self) -> bool:
        """The feed was there before."""
        return self._known

    def clear(self) -> int:
        """Removes all records and the feed itself, and commits."""
        self._remove_unseen()
        self._count_generation()
        self._cursor.execute("DELETE FROM feed WHERE id = ?", (self._feed,))
        self._cursor.execute("COMMIT")
        return self.counts.removed

    def broken(self, what: str) -> None:
        """Counts a record that could not be read."""
        self.counts.broken += 1
        self.counts.broken_example = self.counts.broken_example or what[:200]

    def scores(self, rows: Iterable[tuple[str, float, float]]) -> None:
        """Replaces all EPSS scores."""
        self._cursor.execute("DELETE FROM epss")
        self._cursor.executemany("INSERT OR REPLACE INTO epss VALUES (?, ?, ?)", self._each(rows))

    def exploited(self, rows: Iterable[tuple[str, str, str, bool]]) -> None:
        """Replaces the list of known exploited vulnerabilities."""
        self._cursor.execute("DELETE FROM kev")
        self._cursor.executemany("INSERT OR REPLACE INTO kev VALUES (?, ?, ?, ?)", self._each(rows))

    def _each(self, rows: Iterable[tuple[object, ...]]) -> Iterable[tuple[object, ...]]:
        for row in rows:
            if self._known:
                self.counts.changed += 1
            else:
                self.counts.added += 1
            yield row

    def meta(self, key: str, value: str) -> None:
        """Keeps a value."""
        self._cursor.execute("INSERT OR REPLACE INTO meta VALUES (?, ?)", (key, value))

    def finish(self, origin: Origin, *, complete: bool = True, now: float | None = None) -> Counts:
        """Removes what was not seen (of a complete feed), counts a generation, commits. Raises NotReadable."""
        counts = self.counts
        if counts.broken > max(5, counts.records // 100):
            raise NotReadable(f"{counts.broken} of its records are broken, such as {counts.broken_example}")
        if not counts.records and complete:
            raise NotReadable("it has no records")
        if complete and self._before >= _FEW and counts.records < self._before * _SHRINK:
            raise NotReadable(f"it has {counts.records} records where there were {self._before}: taken for broken")
        if complete:
            self._remove_unseen()
        moment = time.time() if now is None else now
        self._count_generation()
        (kept,) = self._cursor.execute("SELECT COUNT(*) FROM advisory WHERE feed = ?", (self._feed,)).fetchone()
        self._cursor.execute(
            "UPDATE feed SET kind=?, url=?, etag=?, modified=?, digest=?, records=?, checked=?, updated=?, error='' "
            "WHERE id=?",
            (
                *(self._kind, origin.url, origin.etag, origin.modified, origin.digest),
                *(kept or counts.records, moment, moment, self._feed),
            ),
        )
        self._cursor.execute("COMMIT")
        self._base.connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        return counts

    def _count_generation(self) -> None:
        risk = self._kind in ("epss", "kev")
        generation = self._base.generation() + (bool(self._touched) or risk)
        self._cursor.executemany(
            "UPDATE package SET changed = ? WHERE id = ?", [(generation, number) for number in self._touched]
        )
        self.meta("generation", str(generation))
        if risk:
            self.meta(RISK, str(generation))

    def _see(self, number: int) -> None:
        if number >= len(self._seen) * 8:
            self._seen.extend(bytes(max(1024, number // 8 + 1 - len(self._seen))))
        self._seen[number >> 3] |= 1 << (number & 7)

    def _remove_unseen(self) -> None:
        seen = self._seen
        rows = self._base.connection.execute("SELECT id FROM advisory WHERE feed = ?", (self._feed,))
        gone = [number for (number,) in rows if number >= len(seen) * 8 or not seen[number >> 3] & (1 << (number & 7))]
        for number in gone:
            (packages,) = self._cursor.execute("SELECT packages FROM advisory WHERE id = ?", (number,)).fetchone()
            self._remove(number, packages)
        self.counts.removed = len(gone)

    def _remove(self, number: int, packages: bytes) -> None:
        ids = struct.unpack(f"<{len(packages) // 4}I", packages)
        self._cursor.executemany(
            "DELETE FROM affects WHERE package = ? AND advisory = ?", [(package, number) for package in ids]
        )
        self._cursor.execute("DELETE FROM advisory WHERE id = ?", (number,))
        self._touched.update(ids)

    def _package(self, ecosystem: str, name: str) -> int:
        key = (ecosystem, name)
        number = self._packages.get(key)
        if number is None:
            row = self._cursor.execute("SELECT id FROM package WHERE ecosystem = ? AND name = ?", key).fetchone()
            if row is None:
                self._cursor.execute("INSERT INTO package (ecosystem, name, changed) VALUES (?, ?, 0)", key)
                number = self._cursor.lastrowid
                assert number is not None
            else:
                number = int(row[0])
            if len(self._packages) > 20_000:
                self._packages.clear()
            self._packages[key] = number
        return number
