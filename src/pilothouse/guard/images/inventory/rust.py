"""Crates of a Rust program that was built by cargo-auditable: a section with a compressed list of them.

Sources: cargo-auditable's description of the format, and of its section `.dep-v0`; the ELF specification.
"""

from __future__ import annotations

import struct
import zlib
from typing import Final

import msgspec

from pilothouse.guard.images.inventory.limits import MIB
from pilothouse.guard.images.model import NOT_JSON, NotReadable, Package

SECTION: Final = b"\0.dep-v0\0"
"""The section's name as it stands among the names of sections."""
_LARGEST: Final = 16 * MIB
_SECTIONS: Final = 4096


class _Crate(msgspec.Struct):
    name: str
    version: str
    source: str = ""
    kind: str = "runtime"


class _Audit(msgspec.Struct):
    packages: list[_Crate]


def read_program(data: bytes, path: str) -> list[Package]:
    """Crates of a registry that are in the program, not those that built it. Raises NotReadable."""
    section = _section(data)
    if section is None:
        return []
    unpack = zlib.decompressobj()
    try:
        text = unpack.decompress(section, _LARGEST)
        if unpack.unconsumed_tail:
            raise NotReadable(f"a list of crates larger than {_LARGEST >> 20} MiB")
        audit = msgspec.json.decode(text, type=_Audit)
    except (zlib.error, *NOT_JSON) as error:
        raise NotReadable(f"its list of crates is broken: {error}") from error
    return [
        Package("cargo", crate.name, crate.version, path=path)
        for crate in audit.packages
        if crate.source in ("crates.io", "registry") and crate.kind != "build"
    ]


def _section(data: bytes) -> bytes | None:
    """The section's bytes, or None when there is none after all."""
    try:
        wide, order = data[4] == 2, "<" if data[5] == 1 else ">"
        (start,) = struct.unpack_from(f"{order}Q" if wide else f"{order}I", data, 0x28 if wide else 0x20)
        size, count, names = struct.unpack_from(f"{order}HHH", data, 0x3A if wide else 0x2E)
        head = struct.Struct(f"{order}IIQQQQ" if wide else f"{order}IIIIII")
        if count > _SECTIONS or size < head.size:
            raise NotReadable("a broken program: its sections are damaged")
        *_, names_at, names_size = head.unpack_from(data, start + names * size)
        listed = data[names_at : names_at + names_size]
        for number in range(count):
            name, _, _, _, at, length = head.unpack_from(data, start + number * size)
            if listed[name : name + len(SECTION) - 1] == SECTION[1:]:
                return data[at : at + length]
    except (struct.error, IndexError, OverflowError) as error:
        raise NotReadable("a broken program: its sections are damaged") from error
    return None
