"""How much of a layer is read before it is refused: an image is whatever somebody made it."""

from __future__ import annotations

import msgspec

KIB = 1024
MIB = 1024 * KIB
GIB = 1024 * MIB


class Limits(msgspec.Struct, frozen=True):
    """Bytes and counts; what is above is reported as not read, never silently left out."""

    layer_bytes: int = 32 * GIB
    ratio: int = 200
    """Times a layer may grow when decompressed, once it is above a gigabyte."""
    entries: int = 2_000_000
    path: int = 4096
    database: int = 192 * MIB
    metadata: int = 4 * MIB
    archive: int = 512 * MIB
    archive_depth: int = 4
    archive_entries: int = 200_000
    nested_bytes: int = 2 * GIB
    """Bytes of all nested archives of one outer one."""
    text: int = 256 * KIB
    """Files up to this size are looked through for secrets."""
    packages: int = 200_000
    problems: int = 200
