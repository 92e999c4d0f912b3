"""Layer records kept by digest, so that a layer is read once however many images have it.

A lost cache costs time only.
"""

from __future__ import annotations

import sqlite3
import threading
import time
import zlib
from collections.abc import Collection, Sequence
from pathlib import Path
from typing import Final

import msgspec

from pilothouse.guard.images.inventory.limits import MIB
from pilothouse.guard.images.match.vex import Vouched
from pilothouse.guard.images.model import RECORD_FORMAT, Inventory, LayerRecord

_LARGEST: Final = 512 * MIB
_SCHEMA: Final = """
CREATE TABLE IF NOT EXISTS layer (
  digest TEXT NOT NULL, format INTEGER NOT NULL, used INTEGER NOT NULL, record BLOB NOT NULL,
  PRIMARY KEY (digest, format)) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS image (
  digest TEXT NOT NULL, format INTEGER NOT NULL, inventory BLOB NOT NULL, PRIMARY KEY (digest, format)) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS signature (
  digest TEXT NOT NULL, key TEXT NOT NULL, used INTEGER NOT NULL, PRIMARY KEY (digest, key)) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS sbom (
  digest TEXT NOT NULL, format INTEGER NOT NULL, used INTEGER NOT NULL, said BLOB NOT NULL,
  PRIMARY KEY (digest, format)) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS vex (
  digest TEXT NOT NULL PRIMARY KEY, used INTEGER NOT NULL, said BLOB NOT NULL) WITHOUT ROWID;
"""
_SIGNATURES: Final = 20_000
_SBOMS: Final = 2_000
_VEX: Final = 2_000


class LayerCache:
    """Records in an SQLite file, or in memory when `path` is None; the longest unused go when it grows too large."""

    def __init__(self, path: Path | None, largest: int = _LARGEST) -> None:
        self._largest = largest
        self._lock = threading.Lock()
        self._base = self._opened(path)

    def _opened(self, path: Path | None) -> sqlite3.Connection:
        try:
            if path is not None:
                path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
            return _connect(str(path) if path is not None else ":memory:")
        except (OSError, sqlite3.Error):
            if path is not None and path.is_file():
                path.unlink(missing_ok=True)  # damaged: begun anew
                try:
                    return _connect(str(path))
                except sqlite3.Error:
                    pass
            return _connect(":memory:")

    def close(self) -> None:
        """Closes the file."""
        with self._lock:
            self._base.close()

    def get(self, digest: str) -> LayerRecord | None:
        """The record, or None when it is not there or was written by another version."""
        with self._lock:
            row = self._base.execute(
                "SELECT record FROM layer WHERE digest = ? AND format = ?", (digest, RECORD_FORMAT)
            ).fetchone()
            if row is None:
                return None
            self._base.execute(
                "UPDATE layer SET used = ? WHERE digest = ? AND format = ?", (int(time.time()), digest, RECORD_FORMAT)
            )
        try:
            return msgspec.msgpack.decode(zlib.decompress(row[0]), type=LayerRecord)
        except (zlib.error, msgspec.DecodeError):
            return None

    def put(self, digest: str, record: LayerRecord) -> None:
        """Keeps a record."""
        data = zlib.compress(msgspec.msgpack.encode(record), 1)
        with self._lock:
            self._base.execute(
                "INSERT OR REPLACE INTO layer VALUES (?, ?, ?, ?)", (digest, RECORD_FORMAT, int(time.time()), data)
            )
            self._prune()

    def image(self, digest: str) -> Inventory | None:
        """The inventory of an image, or None when it is not kept."""
        with self._lock:
            row = self._base.execute(
                "SELECT inventory FROM image WHERE digest = ? AND format = ?", (digest, RECORD_FORMAT)
            ).fetchone()
        try:
            return msgspec.msgpack.decode(zlib.decompress(row[0]), type=Inventory) if row is not None else None
        except (zlib.error, msgspec.DecodeError):
            return None

    def put_image(self, digest: str, inventory: Inventory) -> None:
        """Keeps an inventory, which need not be put together again."""
        data = zlib.compress(msgspec.msgpack.encode(inventory), 1)
        with self._lock:
            self._base.execute("INSERT OR REPLACE INTO image VALUES (?, ?, ?)", (digest, RECORD_FORMAT, data))

    def retain_images(self, digests: Collection[str]) -> None:
        """Forgets the inventories of all other images."""
        with self._lock:
            kept = {row[0] for row in self._base.execute("SELECT digest FROM image")}
            self._base.executemany("DELETE FROM image WHERE digest = ?", [(gone,) for gone in kept - set(digests)])

    def signed_by(self, digest: str, keys: Collection[str]) -> str:
        """The first of the keys (by id) that is known to have signed a digest, "" for none."""
        with self._lock:
            known = {row[0] for row in self._base.execute("SELECT key FROM signature WHERE digest = ?", (digest,))}
        return next((key for key in keys if key in known), "")

    def put_signature(self, digest: str, key: str) -> None:
        """Keeps that a key has signed a digest, which stays true."""
        with self._lock:
            self._base.execute("INSERT OR REPLACE INTO signature VALUES (?, ?, ?)", (digest, key, int(time.time())))
            self._keep("signature", _SIGNATURES)

    def sboms(self, digest: str) -> list[tuple[str, Inventory]]:
        """What attached SBOMs say of an image, each with where it was."""
        with self._lock:
            row = self._base.execute(
                "SELECT said FROM sbom WHERE digest = ? AND format = ?", (digest, RECORD_FORMAT)
            ).fetchone()
        try:
            return msgspec.msgpack.decode(zlib.decompress(row[0]), type=list[tuple[str, Inventory]]) if row else []
        except (zlib.error, msgspec.DecodeError):
            return []

    def put_sboms(self, digest: str, said: list[tuple[str, Inventory]]) -> None:
        """Keeps what SBOMs say."""
        data = zlib.compress(msgspec.msgpack.encode(said), 1)
        with self._lock:
            self._base.execute(
                "INSERT OR REPLACE INTO sbom VALUES (?, ?, ?, ?)", (digest, RECORD_FORMAT, int(time.time()), data)
            )
            self._keep("sbom", _SBOMS)

    def vex(self, digest: str) -> list[Vouched]:
        """The VEX documents that were beside an image when its registry was last asked, and vouched for by a key."""
        with self._lock:
            row = self._base.execute("SELECT said FROM vex WHERE digest = ?", (digest,)).fetchone()
        try:
            return msgspec.msgpack.decode(zlib.decompress(row[0]), type=list[Vouched]) if row else []
        except (zlib.error, msgspec.DecodeError):
            return []

    def put_vex(self, digest: str, said: Sequence[Vouched]) -> None:
        """Keeps what is beside an image now, if it is something else than before."""
        if self.vex(digest) == list(said):
            return
        data = zlib.compress(msgspec.msgpack.encode(said), 1)
        with self._lock:
            self._base.execute("INSERT OR REPLACE INTO vex VALUES (?, ?, ?)", (digest, time.time_ns(), data))
            self._keep("vex", _VEX)

    def vex_since(self, when: int) -> tuple[int, list[str]]:
        """The images about which something else is said since then, and the time (0 at first) to ask with next."""
        with self._lock:
            rows = self._base.execute("SELECT digest, used FROM vex WHERE used > ?", (when,)).fetchall()
        return max((used for _, used in rows), default=when), [digest for digest, _ in rows]

    def _keep(self, table: str, most: int) -> None:
        """Forgets all but the latest."""
        self._base.execute(
            f"DELETE FROM {table} WHERE digest IN (SELECT digest FROM {table} ORDER BY used DESC LIMIT -1 OFFSET ?)",
            (most,),
        )

    def _prune(self) -> None:
        (total,) = self._base.execute("SELECT COALESCE(SUM(LENGTH(record)), 0) FROM layer").fetchone()
        while total > self._largest:
            row = self._base.execute(
                "SELECT digest, format, LENGTH(record) FROM layer ORDER BY format != ? DESC, used LIMIT 1",
                (RECORD_FORMAT,),
            ).fetchone()
            if row is None:
                return
            self._base.execute("DELETE FROM layer WHERE digest = ? AND format = ?", row[:2])
            total -= row[2]


def _connect(path: str) -> sqlite3.Connection:
    base = sqlite3.connect(path, isolation_level=None, check_same_thread=False, timeout=10)
    base.execute("PRAGMA journal_mode=WAL")
    base.execute("PRAGMA synchronous=OFF")
    base.executescript(_SCHEMA)
    return base
