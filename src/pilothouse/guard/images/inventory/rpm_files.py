"""Headers in the files of RPM's older data bases: ndb (SUSE's), and Berkeley DB's hash (until rpm 4.16).

Read as bytes, without a library, for they come from somebody else's image. No page is followed twice, so that the work
is bounded by the file's size. Sources: RPM's description of its ndb files; Berkeley DB's of its pages.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from typing import Final

from pilothouse.guard.images.model import NotReadable

NDB: Final = b"RpmP"
_SLOT: Final = struct.Struct("<4sIII")
_NDB_PAGE: Final = 4096
_NDB_BLOCK: Final = 16
_NDB_TAIL: Final = struct.Struct("<II4s")
_FIRST_SLOT: Final = 2

_HASH_MAGIC: Final = 0x061561
_MAGIC_AT: Final = 12
_PAGE: Final = 26
"""Bytes of a page's header: log position, own number, the one before, the next, entries, free space, level, type."""
_HASH_UNSORTED, _OVERFLOW, _HASH = 2, 7, 13
_ITEM_HERE, _ITEM_ELSEWHERE = 1, 3
_KEY: Final = 4
"""Bytes of a key: the number of an installed package; 0 is the record that counts them."""


def ndb_headers(data: bytes | bytearray) -> Iterator[bytes]:
    """The header of each package. Raises NotReadable."""
    if len(data) < _NDB_PAGE or not data.startswith(NDB):
        raise NotReadable("no RPM database in ndb form")
    (pages,) = struct.unpack_from("<I", data, 12)
    if pages * _NDB_PAGE > len(data):
        raise NotReadable("an RPM database in ndb form that is cut short")
    for at in range(_FIRST_SLOT * _SLOT.size, pages * _NDB_PAGE, _SLOT.size):
        magic, number, block, count = _SLOT.unpack_from(data, at)
        if magic != b"Slot":
            raise NotReadable("a broken RPM database in ndb form: a slot is damaged")
        if block:
            yield _ndb_blob(data, number, block * _NDB_BLOCK, count * _NDB_BLOCK)


def _ndb_blob(data: bytes | bytearray, number: int, at: int, size: int) -> bytes:
    if at + size > len(data) or size < _SLOT.size + _NDB_TAIL.size:
        raise NotReadable("an RPM database in ndb form that is cut short")
    magic, owner, _, length = _SLOT.unpack_from(data, at)
    if magic != b"BlbS" or owner != number or length > size - _SLOT.size - _NDB_TAIL.size:
        raise NotReadable("a broken RPM database in ndb form: a header is not where its slot says")
    return bytes(data[at + _SLOT.size : at + _SLOT.size + length])


def is_berkeley(data: bytes | bytearray) -> bool:
    """True for Berkeley DB's hash, of either byte order."""
    magic = bytes(data[_MAGIC_AT : _MAGIC_AT + 4])
    return magic in (_HASH_MAGIC.to_bytes(4, "little"), _HASH_MAGIC.to_bytes(4, "big"))


def berkeley_headers(data: bytes | bytearray) -> Iterator[bytes]:
    """The header of each package. Raises NotReadable."""
    return _Berkeley(data).headers()


class _Berkeley:
    """A file of pages: the first describes it, others hold keys and values by turns, or a part of a large value."""

    def __init__(self, data: bytes | bytearray) -> None:
        if len(data) < 512 or not is_berkeley(data):
            raise NotReadable("no RPM database in Berkeley DB form")
        self._data = data
        self._order = "<" if data[_MAGIC_AT] == _HASH_MAGIC & 0xFF else ">"
        _, self._size, encrypted = struct.unpack_from(f"{self._order}IIB", data, 16)
        if self._size not in {1 << power for power in range(9, 17)} or encrypted:
            raise NotReadable("a broken RPM database in Berkeley DB form, or an encrypted one")
        self._pages = len(data) // self._size
        (last,) = struct.unpack_from(f"{self._order}I", data, 32)
        if last >= self._pages:
            raise NotReadable("an RPM database in Berkeley DB form that is cut short")
        self._used = bytearray(self._pages)

    def headers(self) -> Iterator[bytes]:
        for number in range(1, self._pages):
            kind = self._data[number * self._size + 25]
            if kind in (_HASH, _HASH_UNSORTED):
                yield from self._of_page(number)

    def _of_page(self, number: int) -> Iterator[bytes]:
        start = number * self._size
        (entries,) = struct.unpack_from(f"{self._order}H", self._data, start + 20)
        if _PAGE + 2 * entries > self._size:
            raise NotReadable("a broken RPM database in Berkeley DB form: a page is damaged")
        offsets = struct.unpack_from(f"{self._order}{entries}H", self._data, start + _PAGE)
        ends = (self._size, *offsets)
        # Items fill a page from its end, so that an item ends where the one before begins.
        if any(at < _PAGE or at >= end for at, end in zip(offsets, ends)):
            raise NotReadable("a broken RPM database in Berkeley DB form: a page is damaged")
        items = [bytes(self._data[start + at : start + end]) for at, end in zip(offsets, ends)]
        for key, value in zip(items[::2], items[1::2]):
            if key[:1] != bytes([_ITEM_HERE]) or len(key) != 1 + _KEY or not any(key[1:]):
                continue
            if value[:1] == bytes([_ITEM_HERE]):
                yield value[1:]
            elif value[:1] == bytes([_ITEM_ELSEWHERE]) and len(value) >= 12:
                yield self._large(*struct.unpack_from(f"{self._order}II", value, 4))
            else:
                raise NotReadable("a broken RPM database in Berkeley DB form: an item of another kind")

    def _large(self, number: int, size: int) -> bytes:
        found = bytearray()
        while number:
            if number >= self._pages or self._used[number]:
                raise NotReadable("a broken RPM database in Berkeley DB form: pages lead nowhere or in a circle")
            self._used[number] = 1
            start = number * self._size
            following, _, length, _, kind = struct.unpack_from(f"{self._order}IHHBB", self._data, start + 16)
            if kind != _OVERFLOW or _PAGE + length > self._size:
                raise NotReadable("a broken RPM database in Berkeley DB form: a page is damaged")
            found += self._data[start + _PAGE : start + _PAGE + length]
            number = following
        if len(found) != size:
            raise NotReadable("a broken RPM database in Berkeley DB form: a header is cut short")
        return bytes(found)
