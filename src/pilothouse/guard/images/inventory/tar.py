"""Tar as layers use it, read forward in bounded memory.

Own code, because the standard library's reader takes a header's word for how much to read at once and keeps
every member.
Formats: POSIX ustar and pax (IEEE Std 1003.1), GNU long names and base-256 numbers (tar(5), GNU tar manual).
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final, Literal

from pilothouse.guard.images.inventory.limits import MIB, Limits
from pilothouse.guard.images.inventory.streams import ByteReader
from pilothouse.guard.images.model import NotReadable

_BLOCK: Final = 512
_EMPTY: Final = bytes(_BLOCK)
_EXTENSION: Final = MIB
"""Bytes of an extended header; a path and its attributes take some kilobytes."""

Kind = Literal["file", "dir", "symlink", "hardlink", "other"]
_KINDS: Final[dict[bytes, Kind]] = {
    b"0": "file",
    b"\0": "file",
    b"7": "file",
    b"1": "hardlink",
    b"2": "symlink",
    b"5": "dir",
}


class Entry:
    """A member; its content must be read before the next one is asked for, or is passed over."""

    __slots__ = ("_left", "_reader", "kind", "link", "mode", "path", "size")

    def __init__(self, reader: ByteReader, path: str, kind: Kind, size: int, mode: int, link: str) -> None:
        self._reader = reader
        self._left = size
        self.path = path
        self.kind = kind
        self.size = size
        self.mode = mode
        self.link = link

    def pieces(self) -> Iterator[memoryview]:
        """The content that is left, in pieces."""
        for piece in self._reader.pieces(self._left):
            self._left -= len(piece)
            yield piece

    def read(self, size: int | None = None) -> bytes:
        """The content that is left, or its next `size` bytes; the caller has looked at how much that is."""
        size = self._left if size is None else min(size, self._left)
        data = self._reader.read(size)
        self._left -= size
        return data

    def finish(self) -> None:
        """Passes over what is left and the padding."""
        self._reader.skip(self._left + -self.size % _BLOCK)
        self._left = 0


def entries(reader: ByteReader, limits: Limits) -> Iterator[Entry]:
    """The members in order. Raises NotReadable for what is no tar, is cut short, or has more members than allowed."""
    count = 0
    extended: dict[str, str] = {}
    common: dict[str, str] = {}
    while True:
        try:
            header = reader.read(_BLOCK)
        except NotReadable:
            if count == 0:
                raise
            return  # some writers leave out the two empty blocks at the end
        if header == _EMPTY:
            reader.rest()
            return
        _verify(header)
        count += 1
        if count > limits.entries:
            raise NotReadable(f"more than {limits.entries} entries; not read further")
        size, flag = _number(header[124:136], "size"), header[156:157]
        if flag in (b"x", b"g", b"L", b"K"):
            _extend(reader, flag, size, extended, common)
            continue
        yield from _member(reader, header, {**common, **extended} if common else extended, limits)
        extended = {}


def _member(reader: ByteReader, header: bytes, extended: dict[str, str], limits: Limits) -> Iterator[Entry]:
    kind = _KINDS.get(header[156:157], "other")
    path = extended.get("path") or _name(header)
    size = _number(header[124:136], "size")
    if "size" in extended:
        size = _decimal(extended["size"])
    if kind in ("symlink", "dir"):
        size = 0
    if kind == "hardlink" and "size" not in extended:
        size = 0
    if kind == "file" and path.endswith("/"):
        kind = "dir"
    link = extended.get("linkpath") or _text(header[157:257])
    if len(path) > limits.path or len(link) > limits.path:
        raise NotReadable(f"a path longer than {limits.path} characters: {path[:60]}…")
    if header[156:157] == b"S":
        raise NotReadable(f"{path}: a sparse file in GNU's old form, which images do not have")
    entry = Entry(reader, path, kind, size, _number(header[100:108], "mode"), link)
    yield entry
    entry.finish()


def _extend(reader: ByteReader, flag: bytes, size: int, extended: dict[str, str], common: dict[str, str]) -> None:
    if size > _EXTENSION:
        raise NotReadable(f"an extended header of {size} bytes")
    data = reader.read(size)
    reader.skip(-size % _BLOCK)
    if flag == b"L":
        extended["path"] = _text(data)
    elif flag == b"K":
        extended["linkpath"] = _text(data)
    else:
        _records(data, extended if flag == b"x" else common)


def _records(data: bytes, into: dict[str, str]) -> None:
    """pax: `LENGTH KEY=VALUE\\n`, the length counting all of it."""
    position = 0
    while position < len(data):
        space = data.find(b" ", position, position + 12)
        number = data[position:space] if space > 0 else b""
        if not number.isdigit() or int(number) <= space - position + 1:
            raise NotReadable("a broken extended header")
        record = data[space + 1 : position + int(number) - 1]
        key, equals, value = record.partition(b"=")
        if not equals:
            raise NotReadable("a broken extended header")
        if key in (b"path", b"linkpath", b"size"):
            into[key.decode()] = value.decode("utf-8", "replace")
        position += int(number)


def _verify(header: bytes) -> None:
    try:
        wanted = int(header[148:156].strip(b" \0") or b"x", 8)
    except ValueError:
        raise NotReadable("this is no tar archive, or a broken one") from None
    if sum(header) - sum(header[148:156]) + 8 * 32 != wanted:
        raise NotReadable("this is no tar archive, or a broken one")


def _number(data: bytes, what: str) -> int:
    if data[0] & 0x80:
        value = int.from_bytes(data, "big") & ((1 << (8 * len(data) - 1)) - 1)
        if data[0] == 0xFF or value >= 1 << 62:
            raise NotReadable(f"a broken header: its {what} is out of range")
        return value
    text = data.strip(b" \0")
    try:
        return int(text, 8) if text else 0
    except ValueError:
        raise NotReadable(f"a broken header: its {what} is no number") from None


def _decimal(text: str) -> int:
    if not (text.isascii() and text.isdigit() and len(text) < 19):
        raise NotReadable("a broken header: its size is no number")
    return int(text)


def _name(header: bytes) -> str:
    name = _text(header[:100])
    prefix = _text(header[345:500]) if header[257:263] == b"ustar\0" else ""
    return f"{prefix}/{name}" if prefix else name


def _text(data: bytes) -> str:
    return data.split(b"\0", 1)[0].decode("utf-8", "replace")
