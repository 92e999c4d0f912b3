"""The data base: an SQLite file, looked up by package without loading it.

Writers change one feed in one transaction: readers see all of an update or nothing of it, and a broken one leaves what
was there. `generation` counts updates; a package carries the generation that last changed what is said of it.
"""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from pilothouse.guard.images.data.names import stands_for
from pilothouse.guard.images.data.records import Advisory, Rule, unpacked
from pilothouse.guard.images.model import NotReadable

FORMAT: Final = 1
FILE: Final = "vulnerabilities.db"
RECORDS: Final = "records"
"""Kind of a feed of single records: they count, but say nothing of all the other packages."""
_SCHEMA: Final = """
CREATE TABLE IF NOT EXISTS meta (key TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS feed (
  id INTEGER PRIMARY KEY, name TEXT NOT NULL UNIQUE, kind TEXT NOT NULL DEFAULT '', url TEXT NOT NULL DEFAULT '',
  etag TEXT NOT NULL DEFAULT '', modified TEXT NOT NULL DEFAULT '', digest TEXT NOT NULL DEFAULT '',
  records INTEGER NOT NULL DEFAULT 0, checked REAL NOT NULL DEFAULT 0, updated REAL NOT NULL DEFAULT 0,
  error TEXT NOT NULL DEFAULT '');
CREATE TABLE IF NOT EXISTS package (
  id INTEGER PRIMARY KEY, ecosystem TEXT NOT NULL, name TEXT NOT NULL, changed INTEGER NOT NULL,
  UNIQUE (ecosystem, name));
CREATE INDEX IF NOT EXISTS package_changed ON package (changed);
CREATE TABLE IF NOT EXISTS advisory (
  id INTEGER PRIMARY KEY, feed INTEGER NOT NULL, ident TEXT NOT NULL, digest BLOB NOT NULL, packages BLOB NOT NULL,
  body BLOB NOT NULL, UNIQUE (feed, ident));
CREATE TABLE IF NOT EXISTS affects (
  package INTEGER NOT NULL, advisory INTEGER NOT NULL, rule BLOB NOT NULL, PRIMARY KEY (package, advisory))
  WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS epss (cve TEXT PRIMARY KEY, score REAL NOT NULL, percentile REAL NOT NULL) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS kev (
  cve TEXT PRIMARY KEY, added TEXT NOT NULL, due TEXT NOT NULL, ransomware INTEGER NOT NULL)
  WITHOUT ROWID;
"""

_LOOKUP: Final = (
    "SELECT feed.name, advisory.body, affects.rule FROM package "
    "JOIN affects ON affects.package = package.id JOIN advisory ON advisory.id = affects.advisory "
    "JOIN feed ON feed.id = advisory.feed WHERE package.ecosystem = ? AND package.name = ?"
)

_RISK: Final = (
    "SELECT score, percentile, NULL, NULL FROM epss WHERE cve = ? "
    "UNION ALL SELECT NULL, NULL, added, ransomware FROM kev WHERE cve = ?"
)


@dataclass(frozen=True, slots=True)
class Feed:
    """One published file, as it was last taken in. Times are seconds since 1970, 0 for never."""

    name: str
    kind: str
    url: str
    etag: str
    modified: str
    digest: str
    records: int
    checked: float
    updated: float
    error: str


@dataclass(frozen=True, slots=True)
class Known:
    """An advisory and what it says of one package."""

    feed: str
    advisory: Advisory
    rule: Rule


@dataclass(frozen=True, slots=True)
class Risk:
    """What is known of a CVE beside its severity."""

    epss: float | None = None
    percentile: float | None = None
    kev: str = ""
    """The day it was added to CISA's list of known exploited vulnerabilities."""
    ransomware: bool = False


class Base:
    """Opens the file (None: in memory), making it when it is not there. Safe to use from several threads."""

    def __init__(self, path: Path | None) -> None:
        self.path = path
        self.lock = threading.RLock()
        self._patterns: dict[str, tuple[int, tuple[str, ...]]] = {}
        try:
            if path is not None:
                path.parent.mkdir(parents=True, exist_ok=True)
            self.connection = self._opened(str(path) if path is not None else ":memory:")
        except (OSError, sqlite3.Error) as error:
            raise NotReadable(f"the vulnerability data base {path} cannot be opened: {error}") from error

    def _opened(self, path: str) -> sqlite3.Connection:
        connection = sqlite3.connect(path, isolation_level=None, check_same_thread=False, timeout=30)
        connection.execute("PRAGMA journal_mode=WAL")
        connection.execute("PRAGMA synchronous=NORMAL")
        connection.execute("PRAGMA cache_size=-4096")
        (version,) = connection.execute("PRAGMA user_version").fetchone()
        if version not in (0, FORMAT):
            connection.close()
            raise NotReadable(f"{path} is of format {version}, not {FORMAT}: remove it and update again")
        if version == 0:
            connection.executescript(_SCHEMA)
            connection.execute(f"PRAGMA user_version={FORMAT}")
        return connection

    def close(self) -> None:
        """Closes the file."""
        with self.lock:
            self.connection.close()

    def feeds(self) -> list[Feed]:
        """All feeds by name."""
        rows = self._all(
            "SELECT name, kind, url, etag, modified, digest, records, checked, updated, error FROM feed ORDER BY name"
        )
        return [Feed(*row) for row in rows]

    def generation(self) -> int:
        """Grows with every update that changed something."""
        return int(self.meta("generation") or 0)

    def meta(self, key: str) -> str:
        """A kept value, or ""."""
        rows = self._all("SELECT value FROM meta WHERE key = ?", (key,))
        return str(rows[0][0]) if rows else ""

    def lookup(self, ecosystem: str, name: str) -> list[Known]:
        """All that is said of a package, in no order; the ecosystem may have a `*` (see `names.stands_for`)."""
        rows = [row for each in self._meant(ecosystem) for row in self._all(_LOOKUP, (each, name))]
        return [Known(feed, unpacked(body, Advisory), unpacked(rule, Rule)) for feed, body, rule in rows]

    def _meant(self, pattern: str) -> Sequence[str]:
        """The ecosystems there are that a pattern stands for."""
        if "*" not in pattern:
            return (pattern,)
        generation = self.generation()
        known = self._patterns.get(pattern)
        if known is None or known[0] != generation:
            steps = self._ecosystems(pattern.partition("*")[0])
            known = self._patterns[pattern] = generation, tuple(each for each in steps if stands_for(pattern, each))
        return known[1]

    def _ecosystems(self, prefix: str) -> Iterator[str]:
        """By steps from one ecosystem to the next: a range would walk all of its packages."""
        low, high = prefix, prefix + "\U0010ffff"
        after = ">="
        while True:
            query = (
                f"SELECT ecosystem FROM package WHERE ecosystem {after} ? AND ecosystem < ? ORDER BY ecosystem LIMIT 1"
            )
            rows = self._all(query, (low, high))
            if not rows:
                return
            low, after = str(rows[0][0]), ">"
            yield low

    def covers(self, ecosystem: str) -> bool:
        """True when there is data for a whole ecosystem, such as `PyPI` or `Debian:12`; single records are not."""
        query = (
            "SELECT 1 FROM package JOIN affects ON affects.package = package.id "
            "JOIN advisory ON advisory.id = affects.advisory JOIN feed ON feed.id = advisory.feed "
            "WHERE package.ecosystem = ? AND feed.kind != ? LIMIT 1"
        )
        return any(self._all(query, (each, RECORDS)) for each in self._meant(ecosystem))

    def changed_since(self, generation: int) -> Iterator[tuple[str, str]]:
        """Ecosystem and name of packages of which something else is said than at that generation."""
        yield from self._all("SELECT ecosystem, name FROM package WHERE changed > ?", (generation,))

    def risk(self, ids: Iterable[str]) -> Risk:
        """The highest EPSS score among the ids, and whether one is known to be exploited."""
        found = Risk()
        for cve in (ident for ident in ids if ident.startswith("CVE-")):
            for score, percentile, added, ransomware in self._all(_RISK, (cve, cve)):
                if added is not None:
                    found = Risk(found.epss, found.percentile, added, bool(ransomware))
                elif found.epss is None or score > found.epss:
                    found = Risk(score, percentile, found.kev, found.ransomware)
        return found

    def counts(self) -> dict[str, int]:
        """Number of advisories, packages, EPSS scores and exploited vulnerabilities."""
        return {
            name: int(self._all(f"SELECT COUNT(*) FROM {table}")[0][0])
            for name, table in (
                ("advisories", "advisory"),
                ("packages", "package"),
                ("epss", "epss"),
                ("knownExploited", "kev"),
            )
        }

    def _all(self, query: str, values: tuple[object, ...] = ()) -> list[tuple[Any, ...]]:
        with self.lock:
            try:
                return self.connection.execute(query, values).fetchall()
            except sqlite3.Error as error:
                raise NotReadable(f"the vulnerability data base {self.path} cannot be read: {error}") from error
