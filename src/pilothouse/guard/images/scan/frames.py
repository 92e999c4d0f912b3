"""What parent and worker say to each other over pipes: a length of four bytes, then so many bytes."""

from __future__ import annotations

import struct
from typing import IO, Final

import msgspec

from pilothouse.guard.images.inventory.limits import Limits

_LENGTH: Final = struct.Struct(">I")
LARGEST: Final = 256 * 1024 * 1024


class Request(msgspec.Struct, frozen=True):
    """Read the layer that follows, in frames up to an empty one."""

    limits: Limits
    wanted: tuple[str, ...] = ()


def write(pipe: IO[bytes], data: bytes | memoryview) -> None:
    """One frame."""
    pipe.write(_LENGTH.pack(len(data)))
    pipe.write(data)


def read(pipe: IO[bytes]) -> bytes | None:
    """One frame, or None when the other side has gone."""
    head = pipe.read(_LENGTH.size)
    if len(head) < _LENGTH.size:
        return None
    (size,) = _LENGTH.unpack(head)
    if size > LARGEST:
        return None
    data = pipe.read(size)
    return data if len(data) == size else None
