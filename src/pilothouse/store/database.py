"""The SQLite file behind the store: one table, the log. Used from one thread at a time; no asyncio.

A row is one change; the current value of a key is its row with the highest revision. A row is dead once a change that
supersedes it is compacted (left the window of changes kept), and so is the row of a compacted deletion. Dead rows are
deleted in the same transaction as later writes, a bounded number each time, so the file stays proportional to what is
current plus the window, whatever failed before. Freed pages are used again; a large surplus is given back in steps.
"""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

from pilothouse.machinery.errors import ServiceUnavailable

SCHEMA_VERSION = 1
_APPLICATION_ID = 0x50484F53
_CHECKPOINT_PAGES = 1000
_WAL_LIMIT = 8 << 20
_SPARE_PAGES = 4096
_RETURN_PAGES = 512
_BUSY_SECONDS = 3.0


class DataDirectoryError(Exception):
    """The file cannot be used as a store; the message says why and what to do."""


class Row(NamedTuple):
    """One change; `value` None is a deletion, `previous` the revision it supersedes (0: none)."""

    revision: int
    key: str
    value: bytes | None
    previous: int


class Database:
    """Opens (or creates) the file. Raises `DataDirectoryError`."""

    def __init__(self, path: Path) -> None:
        self.path = path
        try:
            # Secrets are in it: nobody else may read it, nor the write-ahead log, which takes its mode from it.
            os.close(os.open(path, os.O_CREAT | os.O_RDWR, 0o600))
            fresh = path.stat().st_size == 0
        except OSError as error:
            raise DataDirectoryError(f"{path} cannot be opened: {error.strerror}; check the data directory") from error
        try:
            self._db = sqlite3.connect(path, timeout=_BUSY_SECONDS, isolation_level=None, check_same_thread=False)
            self._prepare(fresh)
        except sqlite3.Error as error:
            raise DataDirectoryError(_opening(path, error)) from error

    def _prepare(self, fresh: bool) -> None:
        execute = self._db.execute
        if fresh:
            execute("PRAGMA auto_vacuum=INCREMENTAL")
        # Exclusive: no other process can open the file, and the write-ahead log needs no shared memory.
        execute("PRAGMA locking_mode=EXCLUSIVE")
        execute("PRAGMA journal_mode=WAL")
        execute("PRAGMA synchronous=FULL")
        execute(f"PRAGMA wal_autocheckpoint={_CHECKPOINT_PAGES}")
        execute(f"PRAGMA journal_size_limit={_WAL_LIMIT}")
        execute("BEGIN IMMEDIATE")
        if fresh:
            execute(f"PRAGMA application_id={_APPLICATION_ID}")
            execute(f"PRAGMA user_version={SCHEMA_VERSION}")
            execute(
                "CREATE TABLE log"
                " (revision INTEGER PRIMARY KEY, key TEXT NOT NULL, value BLOB, previous INTEGER NOT NULL)"
            )
            execute("CREATE TABLE compaction (one INTEGER PRIMARY KEY CHECK (one = 1), revision INTEGER NOT NULL)")
            execute("INSERT INTO compaction VALUES (1, 0)")
        execute("COMMIT")
        self._check_version()

    def _check_version(self) -> None:
        (application,) = self._db.execute("PRAGMA application_id").fetchone()
        (version,) = self._db.execute("PRAGMA user_version").fetchone()
        if application != _APPLICATION_ID:
            raise DataDirectoryError(
                f"{self.path} is not a Pilothouse store (application id {application}): move it away, or choose another"
                " data directory"
            )
        if version != SCHEMA_VERSION:
            raise DataDirectoryError(
                f"{self.path} was written by another version of Pilothouse: its schema is version {version}, this"
                f" program reads version {SCHEMA_VERSION}; use the version that wrote it, or another data directory"
            )

    def compacted(self) -> int:
        (revision,) = self._db.execute("SELECT revision FROM compaction").fetchone()
        return int(revision)

    def rows(self) -> Iterator[Row]:
        """Every row, by revision."""
        return map(Row._make, self._db.execute("SELECT revision, key, value, previous FROM log ORDER BY revision"))

    def commit(self, rows: Sequence[Row], dead: Sequence[int], compacted: int) -> None:
        """Makes rows durable and drops dead ones, all or nothing. Raises `ServiceUnavailable`."""
        try:
            self._db.execute("BEGIN IMMEDIATE")
            self._db.executemany("INSERT INTO log VALUES (?, ?, ?, ?)", rows)
            if dead:
                self._db.executemany("DELETE FROM log WHERE revision = ?", [(revision,) for revision in dead])
                self._db.execute("UPDATE compaction SET revision = ?", (compacted,))
            self._db.execute("COMMIT")
        except sqlite3.Error as error:
            if self._db.in_transaction:
                self._db.execute("ROLLBACK")
            raise ServiceUnavailable(_writing(self.path, error)) from error

    def give_back(self) -> None:
        """Returns a part of the free pages to the file system when there are many."""
        (free,) = self._db.execute("PRAGMA freelist_count").fetchone()
        if free > _SPARE_PAGES:
            self._db.execute(f"PRAGMA incremental_vacuum({_RETURN_PAGES})").fetchall()

    def close(self) -> None:
        self._db.close()


def _opening(path: Path, error: sqlite3.Error) -> str:
    name = getattr(error, "sqlite_errorname", "")
    if name.startswith("SQLITE_BUSY"):
        return f"{path} is in use by another process: another engine runs on this data directory; stop it first"
    if name in ("SQLITE_NOTADB", "SQLITE_CORRUPT"):
        return (
            f"{path} is damaged or not a database ({error}): restore it from a backup, or choose another data directory"
        )
    if name == "SQLITE_FULL":
        return f"{path} cannot be opened: the disk is full; free space on it and start again"
    return f"{path} cannot be opened: {error}; check that the directory exists and can be written"


def _writing(path: Path, error: sqlite3.Error) -> str:
    name = getattr(error, "sqlite_errorname", "")
    if name == "SQLITE_FULL":
        return f"nothing was written: the disk that holds {path} is full; free space on it and try again"
    return f"nothing was written: {path}: {error} ({name}); check the disk and try again"
