"""A tar of documents, plain or compressed by gzip, xz or zstd: how Ubuntu publishes OSV and Red Hat CSAF."""

from __future__ import annotations

import lzma
from collections.abc import Iterator
from typing import IO, Final

from pilothouse.guard.images.inventory import tar
from pilothouse.guard.images.inventory.limits import GIB, MIB, Limits
from pilothouse.guard.images.inventory.streams import ByteReader, decompressed
from pilothouse.guard.images.model import NotReadable

_XZ: Final = b"\xfd7zXZ\0"
_ZSTD: Final = b"\x28\xb5\x2f\xfd"
_MEMORY: Final = 256 * MIB
"""For xz: what the program itself takes at its highest level is a quarter of it."""
_DOCUMENT: Final = 64 * MIB
_LIMITS: Final = Limits(layer_bytes=64 * GIB, ratio=2000, entries=5_000_000)
"""Documents that are alike shrink more than the files of an image do."""


def is_packed(head: bytes) -> bool:
    """True for what begins as xz or zstd do."""
    return head.startswith((_XZ, _ZSTD))


def is_tar(head: bytes) -> bool:
    """True for what begins with a tar's header."""
    return head[257:262] == b"ustar"


def unpacked(file: IO[bytes]) -> Iterator[bytes]:
    """The content in pieces, decompressed. Raises NotReadable."""
    pieces = iter(lambda: file.read(MIB), b"")
    first = next(pieces, b"")
    source = _with(first, pieces)
    return _unxz(source) if first.startswith(_XZ) else decompressed(source, _LIMITS)


def head_of(file: IO[bytes], size: int) -> bytes:
    """The first bytes of the content. Raises NotReadable."""
    found = b""
    for piece in unpacked(file):
        found += piece
        if len(found) >= size:
            break
    return found[:size]


def documents(file: IO[bytes]) -> Iterator[tuple[str, bytes]]:
    """Name and content of each JSON file in a tar. Raises NotReadable."""
    for entry in tar.entries(ByteReader(unpacked(file)), _LIMITS):
        if entry.kind == "file" and entry.path.endswith(".json"):
            if entry.size > _DOCUMENT:
                raise NotReadable(f"{entry.path} in it is larger than {_DOCUMENT >> 20} MiB")
            yield entry.path, entry.read()


def _with(first: bytes, pieces: Iterator[bytes]) -> Iterator[bytes]:
    yield first
    yield from pieces


def _unxz(pieces: Iterator[bytes]) -> Iterator[bytes]:
    unpack = lzma.LZMADecompressor(lzma.FORMAT_XZ, memlimit=_MEMORY)
    given = 0
    try:
        for piece in pieces:
            data = piece
            while data or not (unpack.needs_input or unpack.eof):
                plain = unpack.decompress(data, MIB)
                given += len(plain)
                if given > _LIMITS.layer_bytes:
                    raise NotReadable(f"more than {_LIMITS.layer_bytes >> 30} GiB when decompressed; not read further")
                yield plain
                data = b""
                if unpack.eof and unpack.unused_data.startswith(_XZ):
                    data, unpack = unpack.unused_data, lzma.LZMADecompressor(lzma.FORMAT_XZ, memlimit=_MEMORY)
            if unpack.eof:
                return  # what is behind the last stream is padding
    except lzma.LZMAError as error:
        raise NotReadable(f"broken xz data: {error}") from error
    if not unpack.eof:
        raise NotReadable("the xz data ends too early: the file is cut short")
