"""A layer's bytes: decompressed piece by piece, counted, never whole in memory."""

from __future__ import annotations

import zlib
from collections.abc import Iterable, Iterator
from typing import Final

from pilothouse.guard.images.inventory.limits import GIB, Limits
from pilothouse.guard.images.model import NotReadable

_PIECE: Final = 1024 * 1024
_GZIP: Final = b"\x1f\x8b"
_ZSTD: Final = b"\x28\xb5\x2f\xfd"
_ZSTD_SKIPPABLE: Final = b"\x2a\x4d\x18"
_WINDOW_LOG: Final = 27
"""zstd's own default limit, 128 MiB: a frame that asks for more is refused."""
_OTHERS: Final = {b"BZh": "bzip2", b"\xfd7zXZ\x00": "xz", b"LZIP": "lzip"}


def decompressed(pieces: Iterable[bytes], limits: Limits) -> Iterator[bytes]:
    """Content of plain, gzip or zstd data, told apart by how it begins. Raises NotReadable."""
    source = _from_first(pieces)
    first = next(source, b"")
    if first.startswith(_GZIP):
        yield from _counted(_gunzip(first, source), limits)
    elif first.startswith(_ZSTD) or first[1:4] == _ZSTD_SKIPPABLE:
        yield from _counted(_unzstd(first, source), limits)
    else:
        for magic, name in _OTHERS.items():
            if first.startswith(magic):
                raise NotReadable(f"compressed with {name}; layers are plain, gzip or zstd")
        yield from _counted(_plain(first, source), limits)


def _from_first(pieces: Iterable[bytes]) -> Iterator[bytes]:
    """The same bytes, the first piece long enough to tell what they are."""
    source = iter(pieces)
    first = b""
    for piece in source:
        first += piece
        if len(first) >= 512:
            break
    yield first
    yield from source


def _counted(pairs: Iterator[tuple[bytes, int]], limits: Limits) -> Iterator[bytes]:
    given = 0
    for piece, taken in pairs:
        given += len(piece)
        if given > limits.layer_bytes:
            raise NotReadable(f"more than {limits.layer_bytes >> 30} GiB when decompressed; not read further")
        if given > GIB and given > limits.ratio * max(taken, 1):
            raise NotReadable(
                f"grows more than {limits.ratio} times when decompressed ({taken} bytes became {given}): a bomb"
            )
        yield piece


def _plain(first: bytes, source: Iterator[bytes]) -> Iterator[tuple[bytes, int]]:
    taken = len(first)
    yield first, taken
    for piece in source:
        taken += len(piece)
        yield piece, taken


def _gunzip(first: bytes, source: Iterator[bytes]) -> Iterator[tuple[bytes, int]]:
    unpack = zlib.decompressobj(31)
    data, taken = first, len(first)
    try:
        while True:
            while data:
                yield unpack.decompress(data, _PIECE), taken
                data = unpack.unconsumed_tail
                if unpack.eof:
                    data = unpack.unused_data
                    if not data.startswith(_GZIP):
                        break  # the end, or padding after the last member, as gzip(1) allows
                    unpack = zlib.decompressobj(31)
            following = next(source, None)
            if following is None:
                break
            taken += len(following)
            if unpack.eof:
                data += following
                if not data.startswith(_GZIP):
                    data = data[-1:]
                    continue
                unpack = zlib.decompressobj(31)
            else:
                data = following
        if not unpack.eof:
            yield unpack.flush(), taken
    except zlib.error as error:
        raise NotReadable(f"broken gzip data: {error}") from error
    if not unpack.eof:
        raise NotReadable("the gzip data ends too early: the blob is cut short")


def _unzstd(first: bytes, source: Iterator[bytes]) -> Iterator[tuple[bytes, int]]:
    from backports.zstd import DecompressionParameter, ZstdDecompressor, ZstdError  # late: few images need it

    options: dict[int, int] = {DecompressionParameter.window_log_max: _WINDOW_LOG}
    unpack = ZstdDecompressor(options=options)
    data, taken = first, len(first)
    try:
        while True:
            if data or not (unpack.needs_input or unpack.eof):
                yield unpack.decompress(data, _PIECE), taken
                data = unpack.unused_data if unpack.eof else b""
                if data:
                    unpack = ZstdDecompressor(options=options)
                    continue
                if not (unpack.needs_input or unpack.eof):
                    continue
            following = next(source, None)
            if following is None:
                break
            taken += len(following)
            data = following
            if unpack.eof and data:
                unpack = ZstdDecompressor(options=options)
    except ZstdError as error:
        raise NotReadable(f"broken zstd data: {error}") from error
    if not unpack.eof:
        raise NotReadable("the zstd data ends too early: the blob is cut short")


class ByteReader:
    """Reads forward through pieces of bytes."""

    def __init__(self, pieces: Iterable[bytes]) -> None:
        self._pieces = iter(pieces)
        self._piece = memoryview(b"")
        self.offset = 0

    def pieces(self, size: int) -> Iterator[memoryview]:
        """Exactly so many bytes, in pieces. Raises NotReadable when there are fewer."""
        while size:
            if not self._piece:
                following = next(self._pieces, None)
                if following is None:
                    raise NotReadable("the archive ends too early")
                self._piece = memoryview(following)
                continue
            piece = self._piece[:size]
            self._piece = self._piece[len(piece) :]
            self.offset += len(piece)
            size -= len(piece)
            yield piece

    def read(self, size: int) -> bytes:
        """Exactly so many bytes; the caller has bounded the number. Raises NotReadable when there are fewer."""
        if size <= len(self._piece):
            data = bytes(self._piece[:size])
            self._piece = self._piece[size:]
            self.offset += size
            return data
        return b"".join(self.pieces(size))

    def skip(self, size: int) -> None:
        """Passes over so many bytes."""
        for _ in self.pieces(size):
            pass

    def rest(self) -> None:
        """Passes over all that is left, so that a check at the end of the data is reached."""
        self.offset += len(self._piece)
        self._piece = memoryview(b"")
        for piece in self._pieces:
            self.offset += len(piece)
