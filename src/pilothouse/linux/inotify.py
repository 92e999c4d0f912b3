"""Waiting for changes of files below a directory, by inotify in the event loop."""

from __future__ import annotations

import asyncio
import ctypes
import os
import struct
from pathlib import Path
from typing import NamedTuple

IN_MODIFY, IN_CLOSE_WRITE, IN_MOVED_FROM, IN_MOVED_TO, IN_CREATE, IN_DELETE = 0x02, 0x08, 0x40, 0x80, 0x100, 0x200
IN_DELETE_SELF = 0x400
IN_Q_OVERFLOW, IN_IGNORED = 0x4000, 0x8000
_HEADER = struct.Struct("iIII")
_libc = ctypes.CDLL(None, use_errno=True)


class Change(NamedTuple):
    """`name` is relative to the watched directory; `mask` has the IN_ bits."""

    name: str
    mask: int


class DirectoryWatch:
    """Tells of changes in one directory, not in those below it. Close it, or use it in a `with`."""

    def __init__(self, directory: str | Path, mask: int) -> None:
        """Raises OSError, as when the directory does not exist or the user's watches are used up."""
        fd = _libc.inotify_init1(os.O_NONBLOCK | os.O_CLOEXEC)
        if fd < 0:
            raise _last_error(directory)
        if _libc.inotify_add_watch(fd, os.fsencode(directory), ctypes.c_uint32(mask)) < 0:
            error = _last_error(directory)
            os.close(fd)
            raise error
        self._fd = fd

    def __enter__(self) -> DirectoryWatch:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        if self._fd >= 0:
            asyncio.get_running_loop().remove_reader(self._fd)
            os.close(self._fd)
            self._fd = -1

    def pending(self) -> list[Change]:
        """The changes since the last call, without waiting."""
        changes: list[Change] = []
        while True:
            try:
                data = os.read(self._fd, 64 << 10)
            except BlockingIOError:
                return changes
            offset = 0
            while offset < len(data):
                _, mask, _, length = _HEADER.unpack_from(data, offset)
                offset += _HEADER.size
                changes.append(Change(os.fsdecode(data[offset : offset + length].rstrip(b"\0")), mask))
                offset += length

    async def wait(self) -> list[Change]:
        """The next changes, at least one."""
        while True:
            changes = self.pending()
            if changes:
                return changes
            await _readable(self._fd)


async def _readable(fd: int) -> None:
    loop = asyncio.get_running_loop()
    ready: asyncio.Future[None] = loop.create_future()

    def wake() -> None:
        if not ready.done():
            ready.set_result(None)

    loop.add_reader(fd, wake)
    try:
        await ready
    finally:
        loop.remove_reader(fd)


def _last_error(path: str | Path) -> OSError:
    code = ctypes.get_errno()
    return OSError(code, os.strerror(code), str(path))
