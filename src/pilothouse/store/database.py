"""The SQLite file behind the store: one table, the log. Used from one thread at a time; no asyncio.

A row is one change; the current value of a key is its row with the highest revision. A row is dead once a change that
supersedes it is compacted (left the window of changes kept), and so is the row of a compacted deletion. Dead rows are
deleted in the same transaction as later writes, a bounded number each time, so the file stays proportional to what is
current plus the window, whatever failed before. Freed pages are used again; a large surplus is given back in steps.
"""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

from pilothouse.machinery.errors import ServiceUnavailable
from pilothouse.store.sealing import SEALED_COLLECTIONS, Sealer, SealError, is_sealed

SCHEMA_VERSION = 2
"""2: values may be sealed. Version 1 is read, and becomes 2."""
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
    """Opens (or creates) the file; `sealer` seals what must not be readable in it. Raises `DataDirectoryError`.

    `connect` opens another disk than the host's, in tests.
    """

    def __init__(
        self, path: Path, sealer: Sealer | None = None, connect: Callable[[Path], sqlite3.Connection] | None = None
    ) -> None:
        self.path = path
        self._sealer = sealer
        try:
            self._db = (connect or _connect)(path)
            self._prepare()
        except sqlite3.Error as error:
            raise DataDirectoryError(_opening(path, error)) from error

    def _prepare(self) -> None:
        execute = self._db.execute
        # Exclusive: no other process can open the file, and the write-ahead log needs no shared memory.
        execute("PRAGMA locking_mode=EXCLUSIVE")
        # Heeded by an empty file only.
        execute("PRAGMA auto_vacuum=INCREMENTAL")
        execute("PRAGMA journal_mode=WAL")
        execute("PRAGMA synchronous=FULL")
        execute(f"PRAGMA wal_autocheckpoint={_CHECKPOINT_PAGES}")
        execute(f"PRAGMA journal_size_limit={_WAL_LIMIT}")
        execute("BEGIN IMMEDIATE")
        if not execute("SELECT 1 FROM sqlite_schema").fetchone():
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
        if version == 1:
            self._db.execute(f"PRAGMA user_version={SCHEMA_VERSION}")
        elif version != SCHEMA_VERSION:
            raise DataDirectoryError(
                f"{self.path} was written by another version of Pilothouse: its schema is version {version}, this"
                f" program reads version {SCHEMA_VERSION}; use the version that wrote it, or another data directory"
            )

    def compacted(self) -> int:
        (revision,) = self._db.execute("SELECT revision FROM compaction").fetchone()
        return int(revision)

    def rows(self) -> Iterator[Row]:
        """Every row, by revision. Raises `DataDirectoryError` when a sealed value does not open."""
        for row in map(Row._make, self._db.execute("SELECT revision, key, value, previous FROM log ORDER BY revision")):
            yield row if row.value is None else row._replace(value=self._opened(row.key, row.value))

    def _opened(self, key: str, stored: bytes) -> bytes:
        if not is_sealed(stored):
            return stored
        try:
            if self._sealer is None:
                raise SealError(f"{key} is sealed, and there are no keys")
            return self._sealer.open(key, stored)
        except SealError as error:
            raise DataDirectoryError(
                f"{self.path} cannot be read: {error}; restore pki/encryption.json of this data directory from a backup"
            ) from error

    def seal_again(self) -> int:
        """Seals every value that is not sealed under the sealer's first key; how many. Raises `DataDirectoryError`.

        Nothing of the old form stays in the file: freed space is overwritten, and the write-ahead log emptied.
        """
        sealer = self._sealer
        if sealer is None:
            return 0
        # By key first: without an index on it the log is gone through, but only what is to be sealed is read whole.
        wanted = "SELECT revision, key, value FROM log WHERE key GLOB ? AND value NOT NULL"
        due = [
            (sealer.seal(key, self._opened(key, stored)), revision)
            for collection in SEALED_COLLECTIONS
            for revision, key, stored in self._db.execute(wanted, (f"{collection}*",))
            if sealer.is_due(key, stored)
        ]
        if not due:
            return 0
        try:
            self._db.execute("PRAGMA secure_delete=ON")
            self._db.execute("BEGIN IMMEDIATE")
            self._db.executemany("UPDATE log SET value = ? WHERE revision = ?", due)
            self._db.execute("COMMIT")
            self._db.execute("PRAGMA secure_delete=OFF")
            self._db.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()
        except sqlite3.Error as error:
            if self._db.in_transaction:
                self._db.execute("ROLLBACK")
            raise DataDirectoryError(_opening(self.path, error)) from error
        return len(due)

    def commit(self, rows: Sequence[Row], dead: Sequence[int], compacted: int) -> None:
        """Makes rows durable and drops dead ones, all or nothing. Raises `ServiceUnavailable`."""
        try:
            self._db.execute("BEGIN IMMEDIATE")
            self._db.executemany("INSERT INTO log VALUES (?, ?, ?, ?)", self._sealed(rows))
            if dead:
                self._db.executemany("DELETE FROM log WHERE revision = ?", [(revision,) for revision in dead])
                self._db.execute("UPDATE compaction SET revision = ?", (compacted,))
            self._db.execute("COMMIT")
        except sqlite3.Error as error:
            if self._db.in_transaction:
                self._db.execute("ROLLBACK")
            raise ServiceUnavailable(_writing(self.path, error)) from error

    def _sealed(self, rows: Sequence[Row]) -> Sequence[Row]:
        sealer = self._sealer
        if sealer is None:
            return rows
        return [row if row.value is None else row._replace(value=sealer.seal(row.key, row.value)) for row in rows]

    def compact_to(self, revision: int) -> None:
        """Nothing up to `revision` is known any more but what is current. Raises `ServiceUnavailable`."""
        try:
            self._db.execute("UPDATE compaction SET revision = ?", (revision,))
        except sqlite3.Error as error:
            raise ServiceUnavailable(_writing(self.path, error)) from error

    def give_back(self) -> None:
        """Returns a part of the free pages to the file system when there are many."""
        (free,) = self._db.execute("PRAGMA freelist_count").fetchone()
        if free > _SPARE_PAGES:
            self._db.execute(f"PRAGMA incremental_vacuum({_RETURN_PAGES})").fetchall()

    def close(self) -> None:
        self._db.close()


def _connect(path: Path) -> sqlite3.Connection:
    try:
        # Nobody else may read it, nor the write-ahead log, which takes its mode from it.
        os.close(os.open(path, os.O_CREAT | os.O_RDWR, 0o600))
    except OSError as error:
        raise DataDirectoryError(f"{path} cannot be opened: {error.strerror}; check the data directory") from error
    return sqlite3.connect(path, timeout=_BUSY_SECONDS, isolation_level=None, check_same_thread=False)


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
