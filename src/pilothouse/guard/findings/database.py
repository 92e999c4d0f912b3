"""The SQLite file that findings are kept in, beside the cluster's store. Used from one thread at a time; no asyncio.

Findings can be found again, so a power cut may cost the last seconds (`synchronous=NORMAL`); a damaged file or one of
another version is put aside and begun anew. The text of a rule is kept once, not with every finding.
"""

from __future__ import annotations

import hashlib
import logging
import os
import sqlite3
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import NamedTuple

import msgspec

from pilothouse.guard.finding import Check, Ref, Severity
from pilothouse.guard.findings.model import Basis, Row
from pilothouse.guard.findings.trend import Point

log = logging.getLogger(__name__)

SCHEMA_VERSION = 1
HISTORY_ROWS = 100_000
TREND_DAYS = 400
TREND_ROWS = 200_000
_WAL_LIMIT = 8 << 20
_TABLES = """
CREATE TABLE finding (key TEXT PRIMARY KEY, revision INTEGER NOT NULL, rule INTEGER NOT NULL, body BLOB NOT NULL)
  WITHOUT ROWID;
CREATE TABLE rule (id INTEGER PRIMARY KEY, digest BLOB NOT NULL UNIQUE, body BLOB NOT NULL);
CREATE TABLE subject (source TEXT, subject TEXT, object TEXT, rules TEXT, data TEXT, PRIMARY KEY (source, subject))
  WITHOUT ROWID;
CREATE TABLE history (id INTEGER PRIMARY KEY, time TEXT, key TEXT, rule TEXT, severity TEXT, owner TEXT, state TEXT,
  because TEXT);
CREATE TABLE sequence (one INTEGER PRIMARY KEY CHECK (one = 1), revision INTEGER NOT NULL);
INSERT INTO sequence VALUES (1, 0);
"""

_LATER_TABLES = """
CREATE TABLE IF NOT EXISTS sent (target TEXT, key TEXT, external TEXT, open INTEGER, words TEXT,
  PRIMARY KEY (target, key)) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS open_by_day (day TEXT, namespace TEXT, owner TEXT, severity TEXT, open INTEGER,
  PRIMARY KEY (day, namespace, owner, severity)) WITHOUT ROWID;
"""
"""Tables that files of this version may lack."""
_FIRST_TREND = """
BEGIN;
INSERT OR IGNORE INTO open_by_day SELECT day, '', owner, severity, open FROM trend;
DROP TABLE trend;
COMMIT
"""
"""What was counted before namespaces were counts for all of them together."""


class Change(NamedTuple):
    """One entry of the history."""

    time: str
    key: str
    rule: str
    severity: str
    owner: str
    state: str
    because: str


class Batch(NamedTuple):
    """What is made durable together."""

    put: Sequence[Row] = ()
    removed: Sequence[Row] = ()
    bases: Sequence[tuple[str, str, Basis]] = ()
    forgotten: Sequence[tuple[str, str]] = ()
    history: Sequence[Change] = ()
    revision: int = 0


_Body = tuple[str, str, Ref, str, str, str, dict[str, str], str, str, str, str, str, str, str]


class FindingDatabase:
    """Opens or creates the file; `None` keeps everything in memory. Raises sqlite3.Error when it cannot be made."""

    def __init__(self, path: Path | None) -> None:
        self._path = path
        try:
            self._open()
        except sqlite3.DatabaseError as error:
            if path is None or not path.exists() or isinstance(error, sqlite3.OperationalError):
                raise
            aside = path.with_suffix(".damaged")
            log.error("%s cannot be read (%s): it is put aside as %s, findings begin anew", path, error, aside)
            os.replace(path, aside)
            for rest in ("-wal", "-shm"):
                path.with_name(path.name + rest).unlink(missing_ok=True)
            self._open()
        self._rules: dict[Check, int] = {}
        self._decoder = msgspec.msgpack.Decoder(_Body)

    def _open(self) -> None:
        if self._path is not None:
            os.close(os.open(self._path, os.O_CREAT | os.O_RDWR, 0o600))
        self._db = sqlite3.connect(self._path or ":memory:", timeout=3.0, isolation_level=None, check_same_thread=False)
        execute = self._db.execute
        execute("PRAGMA auto_vacuum=INCREMENTAL")
        execute("PRAGMA journal_mode=WAL")
        execute("PRAGMA synchronous=NORMAL")
        execute(f"PRAGMA journal_size_limit={_WAL_LIMIT}")
        (version,) = execute("PRAGMA user_version").fetchone()
        if version in (0, SCHEMA_VERSION):
            self._db.executescript(_LATER_TABLES)
        if version == SCHEMA_VERSION and execute("SELECT 1 FROM sqlite_master WHERE name = 'trend'").fetchone():
            self._db.executescript(_FIRST_TREND)
        if version == 0:
            self._db.executescript(f"BEGIN;{_TABLES}PRAGMA user_version={SCHEMA_VERSION};COMMIT")
        elif version != SCHEMA_VERSION:
            raise sqlite3.DatabaseError(f"its schema is version {version}, this program's {SCHEMA_VERSION}")

    def load(self) -> tuple[list[Row], dict[tuple[str, str], Basis], int]:
        """All findings, the bases of subjects, and the last revision."""
        checks: dict[int, Check] = {}
        for number, body in self._db.execute("SELECT id, body FROM rule"):
            check = _check(body)
            checks[number] = check
            self._rules[check] = number
        rows = [
            self._row(key, revision, checks[rule], body)
            for key, revision, rule, body in self._db.execute("SELECT key, revision, rule, body FROM finding")
        ]
        bases = {
            (source, subject): Basis(object_, rules, data)
            for source, subject, object_, rules, data in self._db.execute("SELECT * FROM subject")
        }
        (revision,) = self._db.execute("SELECT revision FROM sequence").fetchone()
        return rows, bases, int(revision)

    def commit(self, batch: Batch) -> None:
        """Makes a batch durable, all or nothing. Raises sqlite3.Error."""
        execute, many = self._db.execute, self._db.executemany
        execute("BEGIN IMMEDIATE")
        try:
            many(
                "INSERT OR REPLACE INTO finding VALUES (?, ?, ?, ?)",
                [(row.key, row.revision, self._rule(row.check), _body(row)) for row in batch.put],
            )
            many("DELETE FROM finding WHERE key = ?", [(row.key,) for row in batch.removed])
            many("INSERT OR REPLACE INTO subject VALUES (?, ?, ?, ?, ?)", [(s, k, *b) for s, k, b in batch.bases])
            many("DELETE FROM subject WHERE source = ? AND subject = ?", batch.forgotten)
            many(
                "INSERT INTO history (time, key, rule, severity, owner, state, because) VALUES (?, ?, ?, ?, ?, ?, ?)",
                batch.history,
            )
            execute("DELETE FROM history WHERE id <= (SELECT max(id) FROM history) - ?", (HISTORY_ROWS,))
            execute("UPDATE sequence SET revision = ?", (batch.revision,))
            execute("COMMIT")
        except sqlite3.Error:
            if self._db.in_transaction:
                execute("ROLLBACK")
            self._rules.clear()
            raise

    def tally(self, points: Iterable[Point]) -> None:
        """Puts a day's counts in place of what was known of it, and drops days long gone."""
        with self._transaction():
            entries = list(points)
            for day in {point.day for point in entries}:
                self._db.execute("DELETE FROM open_by_day WHERE day = ?", (day,))
            self._db.executemany("INSERT INTO open_by_day VALUES (?, ?, ?, ?, ?)", entries)
            self._db.execute(f"DELETE FROM open_by_day WHERE day < date('now', '-{TREND_DAYS} days')")
            # Whole days go, the oldest first.
            beyond = "SELECT day FROM open_by_day ORDER BY day DESC LIMIT 1 OFFSET ?"
            self._db.execute(f"DELETE FROM open_by_day WHERE day <= ({beyond})", (TREND_ROWS,))
            # Rules that no finding refers to any more.
            self._db.execute("DELETE FROM rule WHERE id NOT IN (SELECT DISTINCT rule FROM finding)")
            self._rules.clear()
        self._db.execute("PRAGMA incremental_vacuum(512)").fetchall()

    def trend(self) -> list[Point]:
        return [Point(*row) for row in self._db.execute("SELECT * FROM open_by_day ORDER BY day, namespace")]

    def history(self, limit: int = 1000) -> list[Change]:
        """The latest changes, newest first."""
        asked = "SELECT time, key, rule, severity, owner, state, because FROM history ORDER BY id DESC LIMIT ?"
        return [Change(*row) for row in self._db.execute(asked, (limit,))]

    def sent(self, target: str) -> dict[str, tuple[str, bool, str]]:
        """What a receiver was told: its name of a finding, whether it is open there, a digest of the words."""
        asked = "SELECT key, external, open, words FROM sent WHERE target = ?"
        return {
            key: (external, bool(open_), words) for key, external, open_, words in self._db.execute(asked, (target,))
        }

    def note_sent(self, target: str, key: str, told: tuple[str, bool, str] | None) -> None:
        """Keeps what a receiver was told, or forgets it."""
        if told is None:
            self._db.execute("DELETE FROM sent WHERE target = ? AND key = ?", (target, key))
        else:
            self._db.execute("INSERT OR REPLACE INTO sent VALUES (?, ?, ?, ?, ?)", (target, key, *told))

    def size(self) -> int:
        """Bytes of the database's pages."""
        (pages,), (page,) = (self._db.execute(f"PRAGMA {name}").fetchone() for name in ("page_count", "page_size"))
        return int(pages) * int(page)

    def close(self) -> None:
        self._db.close()

    def _transaction(self) -> sqlite3.Connection:
        self._db.execute("BEGIN IMMEDIATE")
        return self._db

    def _rule(self, check: Check) -> int:
        number = self._rules.get(check)
        if number is None:
            body = msgspec.msgpack.encode(_plain(check))
            digest = hashlib.sha256(body).digest()[:16]
            self._db.execute("INSERT OR IGNORE INTO rule (digest, body) VALUES (?, ?)", (digest, body))
            (number,) = self._db.execute("SELECT id FROM rule WHERE digest = ?", (digest,)).fetchone()
            self._rules[check] = int(number)
        return int(number)

    def _row(self, key: str, revision: int, check: Check, body: bytes) -> Row:
        source, subject, ref, message, container, field, evidence, *rest = self._decoder.decode(body)
        state, owner, first, last, resolved, because, exemption = rest
        return Row(
            key,
            revision,
            source,
            subject,
            check,
            ref,
            message,
            container,
            field,
            tuple(evidence.items()),
            state,
            owner,
            first,
            last,
            resolved,
            because,
            exemption,
        )


def _body(row: Row) -> bytes:
    body: _Body = (
        row.source,
        row.subject,
        row.ref,
        row.message,
        row.container,
        row.field,
        dict(row.evidence),
        row.state,
        row.owner,
        row.first_seen,
        row.last_seen,
        row.resolved_at,
        row.because,
        row.exemption,
    )
    return msgspec.msgpack.encode(body)


def _plain(check: Check) -> tuple[str, str, int, str, str, str, str, str]:
    return (
        check.id,
        check.title,
        int(check.severity),
        check.category,
        check.why,
        check.remedy,
        check.standards,
        check.other_names,
    )


def _check(body: bytes) -> Check:
    id_, title, severity, *rest = msgspec.msgpack.decode(body)
    return Check(id_, title, Severity(severity), *rest)
