"""Large published files piece by piece: members of a zip, of a JSON object, lines."""

from __future__ import annotations

import json
import re
import struct
import zlib
from collections.abc import Iterable, Iterator
from typing import IO, Final

from pilothouse.guard.images.inventory.limits import MIB
from pilothouse.guard.images.model import NotReadable

_MEMBER: Final = 64 * MIB
_END: Final = b"PK\x05\x06"
_END64: Final = b"PK\x06\x06"
_END64_PLACE: Final = b"PK\x06\x07"
_CENTRAL: Final = struct.Struct("<4s6H3L5H2L")
_LOCAL: Final = struct.Struct("<4s5H3L2H")
_TOKEN: Final = re.compile(rb'["{}\[\]]')
_STRING_END: Final = re.compile(rb'[^"\\]*(?:\\.[^"\\]*)*"', re.DOTALL)


def zip_members(file: IO[bytes]) -> Iterator[tuple[str, bytes]]:
    """Name and content of each member, its checksum verified; memory does not grow with their number.

    Raises NotReadable. Source: PKWARE's APPNOTE 6.3, with zip64. The standard library keeps 500 bytes a member.
    """
    count, size, start = _directory(file)
    position = start
    for _ in range(count):
        file.seek(position)
        head = file.read(_CENTRAL.size)
        if len(head) < _CENTRAL.size or not head.startswith(b"PK\x01\x02"):
            raise NotReadable("a broken zip: its directory is damaged")
        fields = _CENTRAL.unpack(head)
        method, checksum, packed, plain = fields[4], fields[7], fields[8], fields[9]
        names, extra, comment, offset = fields[10], fields[11], fields[12], fields[16]
        name = file.read(names).decode("utf-8", "replace")
        packed, plain, offset = _large(file.read(extra), packed, plain, offset)
        position += _CENTRAL.size + names + extra + comment
        if position > start + size:
            raise NotReadable("a broken zip: its directory is longer than it says")
        if name.endswith("/"):
            continue
        yield name, _content(file, name, (method, checksum, packed, plain, offset))


def _directory(file: IO[bytes]) -> tuple[int, int, int]:
    """Number of members, and size and place of the directory."""
    length = file.seek(0, 2)
    file.seek(max(0, length - 66_000))
    tail = file.read()
    at = tail.rfind(_END)
    if at < 0 or len(tail) < at + 22:
        raise NotReadable("no zip, or one that is cut short: it has no end of directory")
    count, size, start = struct.unpack_from("<HLL", tail, at + 10)
    place = tail.rfind(_END64_PLACE, 0, at)
    if 0xFFFF in (count,) or 0xFFFFFFFF in (size, start):
        if place < 0:
            raise NotReadable("a broken zip: its zip64 directory is missing")
        (offset,) = struct.unpack_from("<Q", tail, place + 8)
        file.seek(offset)
        record = file.read(56)
        if len(record) < 56 or not record.startswith(_END64):
            raise NotReadable("a broken zip: its zip64 directory is missing")
        count, size, start = struct.unpack_from("<QQQ", record, 32)
    if start + size > length:
        raise NotReadable("a zip that is cut short")
    return count, size, start


def _large(extra: bytes, packed: int, plain: int, offset: int) -> tuple[int, int, int]:
    """Sizes and offset from the zip64 field, as far as they stand there."""
    at = 0
    while at + 4 <= len(extra):
        kind, size = struct.unpack_from("<HH", extra, at)
        if kind == 1:
            values = [int.from_bytes(extra[i : i + 8], "little") for i in range(at + 4, at + 4 + size - 7, 8)]
            plain = values.pop(0) if plain == 0xFFFFFFFF and values else plain
            packed = values.pop(0) if packed == 0xFFFFFFFF and values else packed
            offset = values.pop(0) if offset == 0xFFFFFFFF and values else offset
        at += 4 + size
    return packed, plain, offset


def _content(file: IO[bytes], name: str, member: tuple[int, int, int, int, int]) -> bytes:
    method, checksum, packed, plain, offset = member
    if plain > _MEMBER or packed > _MEMBER:
        raise NotReadable(f"{name} in the zip is larger than {_MEMBER >> 20} MiB")
    file.seek(offset)
    head = file.read(_LOCAL.size)
    if len(head) < _LOCAL.size or not head.startswith(b"PK\x03\x04"):
        raise NotReadable(f"a broken zip: {name} is not where its directory says")
    fields = _LOCAL.unpack(head)
    file.seek(fields[9] + fields[10], 1)
    data = file.read(packed)
    if method == 8:
        try:
            data = zlib.decompressobj(-15).decompress(data, plain + 1)
        except zlib.error as error:
            raise NotReadable(f"a broken zip: {name}: {error}") from error
    elif method != 0:
        raise NotReadable(f"a zip compressed by method {method}, which is not read")
    if len(data) != plain or zlib.crc32(data) != checksum:
        raise NotReadable(f"a broken zip: {name} does not match its checksum")
    return data


def object_members(pieces: Iterable[bytes]) -> Iterator[tuple[str, bytes]]:
    """Key and value (as bytes) of each member of one large JSON object. Raises NotReadable when it is cut short."""
    scanner = _Scanner(pieces)
    scanner.expect(b"{")
    while True:
        mark = scanner.next_of(b'"}')
        if mark == b"}":
            return
        key = scanner.string()
        scanner.expect(b":")
        try:
            name = json.loads(key)
        except ValueError as error:
            raise NotReadable(f"broken JSON: {error}") from error
        yield name, scanner.value()


class _Scanner:
    """Finds where values end; what is in them is for a real parser to judge."""

    def __init__(self, pieces: Iterable[bytes]) -> None:
        self._pieces = iter(pieces)
        self._data = b""
        self._at = 0

    def _more(self) -> None:
        piece = next(self._pieces, None)
        if piece is None:
            raise NotReadable("broken JSON: it ends too early")
        if len(self._data) - self._at > _MEMBER:
            raise NotReadable(f"broken JSON: a member larger than {_MEMBER >> 20} MiB")
        self._data = self._data[self._at :] + piece
        self._at = 0

    def next_of(self, wanted: bytes) -> bytes:
        """The next byte of these, passing over white space and commas only; a quote is not consumed."""
        while True:
            while self._at < len(self._data):
                byte = self._data[self._at : self._at + 1]
                if byte in (b" ", b"\n", b"\r", b"\t", b","):
                    self._at += 1
                    continue
                if byte not in wanted:
                    raise NotReadable(f"broken JSON: {byte!r} where one of {wanted.decode()} is due")
                if byte != b'"':
                    self._at += 1
                return byte
            self._more()

    def expect(self, byte: bytes) -> None:
        """Passes over one byte that must come."""
        self.next_of(byte)

    def string(self) -> bytes:
        """A string with its quotes."""
        while True:
            match = _STRING_END.match(self._data, self._at + 1)
            if match:
                found = self._data[self._at : match.end()]
                self._at = match.end()
                return found
            self._more()

    def value(self) -> bytes:
        """An object or array, whole."""
        depth, position = 0, 0
        while True:
            done = self._value_from(depth, position)
            if isinstance(done, bytes):
                return done
            depth, position = done
            self._more()

    def _value_from(self, depth: int, position: int) -> bytes | tuple[int, int]:
        """The value, or where to go on (from the start of what is unread) when more is needed."""
        data, start = self._data, self._at
        at = start + position
        while True:
            token = _TOKEN.search(data, at)
            if token is None:
                return depth, len(data) - start
            mark = token.group()
            if mark == b'"':
                end = _STRING_END.match(data, token.end())
                if end is None:
                    return depth, token.start() - start
                at = end.end()
                continue
            depth += 1 if mark in b"{[" else -1
            at = token.end()
            if depth <= 0:
                self._at = at
                return data[start:at]
