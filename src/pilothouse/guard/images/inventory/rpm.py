"""RPM's package database: SQLite as of rpm 4.16, and the older forms (`rpm_files`).

Source: RPM's documentation, "RPM v4 headers": index entries of tag, type, offset, count; then their data.
Numbers are big-endian.
"""

from __future__ import annotations

import sqlite3
import struct
from collections.abc import Iterator
from contextlib import closing
from typing import Final

from pilothouse.guard.images.inventory import rpm_files
from pilothouse.guard.images.inventory.dpkg import owned
from pilothouse.guard.images.model import NotReadable, Package

_NAME, _VERSION, _RELEASE, _EPOCH, _ARCH, _SOURCE = 1000, 1001, 1002, 1003, 1022, 1044
_DIR_INDEXES, _BASENAMES, _DIR_NAMES, _MODULE = 1116, 1117, 1118, 5096
_INT32, _STRING, _STRINGS, _I18N = 4, 6, 8, 9
_ENTRIES: Final = 16_384
_TAGS = frozenset({_NAME, _VERSION, _RELEASE, _EPOCH, _ARCH, _SOURCE, _DIR_INDEXES, _BASENAMES, _DIR_NAMES, _MODULE})
_SQLITE: Final = b"SQLite format 3\0"


def read_database(data: bytearray, path: str) -> tuple[list[Package], bytes]:
    """The packages, and digests of what they own. Raises NotReadable."""
    found: list[Package] = []
    paths: list[str] = []
    for blob in _headers(data):
        tags = _header(blob)
        package = _package(tags, path)
        if package is not None:
            found.append(package)
            paths += _paths(tags)
    return found, owned(paths)


def _headers(data: bytearray) -> Iterator[bytes]:
    """Told apart by what stands in it: the same file names have been used for several forms."""
    if data.startswith(_SQLITE) and len(data) >= 100:
        return _sqlite_headers(data)
    if data.startswith(rpm_files.NDB):
        return rpm_files.ndb_headers(data)
    if rpm_files.is_berkeley(data):
        return rpm_files.berkeley_headers(data)
    raise NotReadable("no RPM database in a form we know: SQLite, ndb, Berkeley DB's hash")


def _sqlite_headers(data: bytearray) -> Iterator[bytes]:
    data[18:20] = b"\1\1"  # written in WAL mode; the log is empty in an image, and a copy in memory cannot have one
    try:
        with closing(sqlite3.connect(":memory:")) as base:
            base.deserialize(bytes(data))
            base.execute("PRAGMA trusted_schema=OFF")
            for (blob,) in base.execute("SELECT blob FROM Packages"):
                if not isinstance(blob, bytes):
                    raise NotReadable("a broken RPM database: a header is no blob")
                yield blob
    except (sqlite3.Error, UnicodeDecodeError) as error:  # SQLite's own messages quote what is in the file
        raise NotReadable(f"the RPM database cannot be read: {error}") from error


def _header(blob: bytes) -> dict[int, list[str] | list[int]]:
    if len(blob) < 8:
        raise NotReadable("a broken RPM header")
    count, size = struct.unpack_from(">II", blob)
    start = 8 + 16 * count
    if count > _ENTRIES or start + size > len(blob):
        raise NotReadable("a broken RPM header")
    found: dict[int, list[str] | list[int]] = {}
    for number in range(count):
        tag, kind, offset, items = struct.unpack_from(">IIiI", blob, 8 + 16 * number)
        if tag not in _TAGS:
            continue
        if offset < 0 or offset > size or items > size:
            raise NotReadable("a broken RPM header")
        at = start + offset
        if kind == _INT32:
            if at + 4 * items > len(blob):
                raise NotReadable("a broken RPM header")
            found[tag] = list(struct.unpack_from(f">{items}I", blob, at))
        elif kind in (_STRING, _STRINGS, _I18N):
            found[tag] = list(_strings(blob, at, 1 if kind == _STRING else items))
    return found


def _strings(blob: bytes, at: int, items: int) -> Iterator[str]:
    for _ in range(items):
        end = blob.find(b"\0", at)
        if end < 0:
            raise NotReadable("a broken RPM header")
        yield blob[at:end].decode("utf-8", "replace")
        at = end + 1


def _package(tags: dict[int, list[str] | list[int]], path: str) -> Package | None:
    def text(tag: int) -> str:
        values = tags.get(tag) or [""]
        return str(values[0])

    name, version = text(_NAME), text(_VERSION)
    if not name or not version or name == "gpg-pubkey":
        return None
    epoch = text(_EPOCH)
    full = f"{epoch}:" if epoch not in ("", "0") else ""
    full += f"{version}-{text(_RELEASE)}"
    source = text(_SOURCE).removesuffix(".src.rpm").removesuffix(".nosrc.rpm").rsplit("-", 2)[0]
    return Package("rpm", name, full, source or name, "", text(_ARCH), path, text(_MODULE))


def _paths(tags: dict[int, list[str] | list[int]]) -> Iterator[str]:
    folders, indexes = tags.get(_DIR_NAMES, []), tags.get(_DIR_INDEXES, [])
    for name, index in zip(tags.get(_BASENAMES, []), indexes):
        if isinstance(index, int) and index < len(folders):
            yield f"{folders[index]}{name}"
