"""Debian's package database: /var/lib/dpkg/status, and status.d of images without a package manager.

Source: deb-control(5), dpkg-query(1) for the states.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator

from pilothouse.guard.images.inventory.paths import clean, digest, merged, of_language, packed
from pilothouse.guard.images.model import Package

_SOURCE = re.compile(r"(\S+)(?:\s+\(([^)]+)\))?")
_REBUILD = re.compile(r"\+b\d+$")
_ABSENT = ("not-installed", "config-files")
_FIELDS = ("Package", "Status", "Version", "Source", "Architecture")


def read_status(text: str, path: str) -> list[Package]:
    """The installed packages of a status file."""
    found = []
    for fields in _stanzas(text):
        status = fields.get("Status", "install ok installed").split()
        if "Package" not in fields or "Version" not in fields or not status or status[-1] in _ABSENT:
            continue
        version = fields["Version"]
        match = _SOURCE.match(fields.get("Source", ""))
        source, source_version = (match[1], match[2] or "") if match else (fields["Package"], "")
        found.append(
            Package(
                "deb",
                fields["Package"],
                version,
                source,
                source_version or _REBUILD.sub("", version),
                fields.get("Architecture", ""),
                path,
            )
        )
    return found


def _stanzas(text: str) -> Iterator[dict[str, str]]:
    fields: dict[str, str] = {}
    for line in text.split("\n"):
        if not line.strip():
            if fields:
                yield fields
            fields = {}
        elif not line[0].isspace():
            key, colon, value = line.partition(":")
            if colon and key in _FIELDS:
                fields.setdefault(key, value.strip())
    if fields:
        yield fields


def owned_by_list(lines: Iterable[str]) -> bytes:
    """Digests of the paths in a `.list` file, as far as packages of a language may be named there."""
    return owned(line for line in lines)


def owned_by_sums(lines: Iterable[str]) -> bytes:
    """The same from a `.md5sums` file: `SUM  path`."""
    return owned(line.partition("  ")[2] for line in lines)


def owned(paths: Iterable[str]) -> bytes:
    """Digests of paths that matter, as on a merged system."""
    cleaned = (clean(path.strip()) for path in paths)
    return packed(digest(merged(path)) for path in cleaned if path and of_language(path))
