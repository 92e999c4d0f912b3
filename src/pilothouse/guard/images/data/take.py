"""Takes a published file in, whatever it is: told apart by what stands in it, not by its name."""

from __future__ import annotations

import gzip
import io
import re
import zlib
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Final

from pilothouse.guard.images.data import archives, csaf
from pilothouse.guard.images.data.alpine import take_secdb
from pilothouse.guard.images.data.base import RECORDS, Base
from pilothouse.guard.images.data.debian import take_tracker
from pilothouse.guard.images.data.osv import take_record
from pilothouse.guard.images.data.risk import take_epss, take_kev
from pilothouse.guard.images.data.streams import object_members, zip_members
from pilothouse.guard.images.data.write import Counts, Origin, Writer
from pilothouse.guard.images.inventory.limits import GIB, MIB
from pilothouse.guard.images.model import NotReadable

SINGLE: Final = ("osv", "csaf")
"""Kinds of files that hold one record."""
_HEAD: Final = 64 * 1024
_DOCUMENT: Final = 64 * MIB
_LINE: Final = 16 * MIB
_LARGEST: Final = 16 * GIB
_TRACKER: Final = re.compile(rb'\{\s*"[^"]+"\s*:\s*\{\s*"(?:CVE|TEMP)-')
_OSV: Final = re.compile(rb'"(?:schema_version|affected|modified)"\s*:')


def kind_of(path: Path) -> str:
    """osv-zip, osv-tar, osv-lines, osv, csaf, debian, alpine, kev or epss. Raises NotReadable for anything else."""
    try:
        with _opened(path) as file:
            head = file.read(_HEAD)
        if archives.is_packed(head):
            with path.open("rb") as file:
                head = archives.head_of(file, _HEAD)
    except (EOFError, gzip.BadGzipFile, zlib.error) as error:
        raise NotReadable(f"{path.name} is broken or cut short: {error}") from error
    start = head.lstrip()
    if start.startswith((b"PK\x03\x04", b"PK\x05\x06")):
        return "osv-zip"
    if archives.is_tar(head):
        return "osv-tar"
    if start.startswith((b"#model_version", b"cve,epss")):
        return "epss"
    if b'"catalogVersion"' in head or b'"knownRansomwareCampaignUse"' in head:
        return "kev"
    if b'"distroversion"' in head or b'"secfixes"' in head:
        return "alpine"
    if _TRACKER.match(start):
        return "debian"
    if csaf.MARK in head:
        return "csaf"
    if start.startswith(b"{") and _OSV.search(head):
        first = start.partition(b"\n")[0].rstrip()
        rest = start.partition(b"\n")[2].lstrip()
        return "osv-lines" if first.endswith(b"}") and rest.startswith(b"{") else "osv"
    raise NotReadable(
        f"{path.name} is none of the files we know: OSV (a zip, a tar, a record, lines), CSAF, Debian's tracker, "
        "Alpine's secdb, EPSS scores, CISA's exploited vulnerabilities"
    )


def feed_name(path: Path, kind: str) -> str:
    """What a file of this kind is kept under when nothing else says so: a later one of that name replaces it."""
    name = path.name.split(".")[0]
    if kind in ("kev", "epss", "debian"):
        return kind
    if name in ("all", "main", "community") and path.parent.name:
        name = f"{path.parent.name}/{name}" if kind == "alpine" else path.parent.name
    prefix = kind if kind in ("alpine", "csaf") else "osv"
    return f"{prefix}/{name.removeprefix(prefix + '-')}"


def take_file(base: Base, path: Path, feed: str, origin: Origin, kind: str = "") -> Counts:
    """Takes a file in as one feed, wholly or not at all. Raises NotReadable, OSError."""
    kind = kind or kind_of(path)
    try:
        with Writer(base, feed, RECORDS if kind in SINGLE else kind.partition("-")[0]) as writer, _opened(path) as file:
            _take(writer, kind, file, path)
            return writer.finish(origin)
    except (EOFError, gzip.BadGzipFile, zlib.error, UnicodeDecodeError) as error:
        raise NotReadable(f"{path.name} is broken or cut short: {error}") from error


def take_records(base: Base, files: Iterable[Path], feed: str, origin: Origin) -> Counts:
    """Takes loose OSV records and CSAF documents in as one feed. Raises NotReadable, OSError."""
    with Writer(base, feed, RECORDS) as writer:
        for path in files:
            if path.stat().st_size > _DOCUMENT:
                writer.broken(f"{path.name}: larger than {_DOCUMENT >> 20} MiB")
            else:
                _take_single(writer, path.read_bytes(), path.name)
        return writer.finish(origin)


def _take_single(writer: Writer, data: bytes, where: str) -> None:
    (csaf.take_document if csaf.MARK in data[:_HEAD] else take_record)(writer, data, where)


def _take(writer: Writer, kind: str, file: IO[bytes], path: Path) -> None:
    if kind in ("osv-zip", "osv-tar"):
        for name, data in zip_members(file) if kind == "osv-zip" else archives.documents(file):
            if name.endswith(".json"):
                _take_single(writer, data, name)
    elif kind == "osv-lines":
        for number, line in enumerate(_lines(file), 1):
            take_record(writer, line, f"{path.name}:{number}")
    elif kind in SINGLE:
        _take_single(writer, _document(file, path), path.name)
    elif kind == "debian":
        take_tracker(writer, object_members(_pieces(file)))
    elif kind == "alpine":
        take_secdb(writer, _document(file, path))
    elif kind == "kev":
        take_kev(writer, _document(file, path))
    else:
        take_epss(writer, io.TextIOWrapper(file, "utf-8"))


@contextmanager
def _opened(path: Path) -> Iterator[IO[bytes]]:
    """The file, decompressed where it is gzip."""
    with path.open("rb") as plain:
        if plain.read(2) == b"\x1f\x8b":
            plain.seek(0)
            with gzip.GzipFile(fileobj=plain) as unpacked:
                yield unpacked  # type: ignore[misc]
        else:
            plain.seek(0)
            yield plain


def _pieces(file: IO[bytes]) -> Iterator[bytes]:
    total = 0
    while piece := file.read(MIB):
        total += len(piece)
        if total > _LARGEST:
            raise NotReadable(f"larger than {_LARGEST >> 30} GiB")
        yield piece


def _lines(file: IO[bytes]) -> Iterator[bytes]:
    while line := file.readline(_LINE):
        if len(line) >= _LINE:
            raise NotReadable(f"a line longer than {_LINE >> 20} MiB")
        if line.strip():
            yield line


def _document(file: IO[bytes], path: Path) -> bytes:
    data = file.read(_DOCUMENT + 1)
    if len(data) > _DOCUMENT:
        raise NotReadable(f"{path.name} is larger than {_DOCUMENT >> 20} MiB")
    return data
