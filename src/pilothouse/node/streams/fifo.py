"""FIFOs between this process and a container's shim, read and written without blocking the event loop."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import fcntl
import os
from collections.abc import Callable
from pathlib import Path

PIECE = 64 << 10
"""Most bytes of one read."""
_PIPE_BYTES = 256 << 10


class FifoReader:
    """The reading end. Open it before its writer starts; read only once the writer has opened its end."""

    def __init__(self, path: Path) -> None:
        os.mkfifo(path, 0o600)
        self._fd = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
        with contextlib.suppress(OSError):
            fcntl.fcntl(self._fd, fcntl.F_SETPIPE_SZ, _PIPE_BYTES)

    async def read(self) -> bytes:
        """The next bytes; empty at the end."""
        loop = asyncio.get_running_loop()
        while self._fd >= 0:
            try:
                return os.read(self._fd, PIECE)
            except BlockingIOError:
                await _ready(self._fd, loop.add_reader, loop.remove_reader)
        return b""

    def close(self) -> None:
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1


class FifoWriter:
    """The writing end, opened once there is a reader. Raises OSError (ENXIO) when there is none."""

    def __init__(self, path: Path) -> None:
        self._fd = os.open(path, os.O_WRONLY | os.O_NONBLOCK | os.O_CLOEXEC)

    async def write(self, data: memoryview) -> None:
        """Waits while the reader does not read. Raises BrokenPipeError when it has gone."""
        loop = asyncio.get_running_loop()
        while data:
            if self._fd < 0:
                raise BrokenPipeError(errno.EPIPE, "the input was closed")
            try:
                data = data[os.write(self._fd, data) :]
            except BlockingIOError:
                await _ready(self._fd, loop.add_writer, loop.remove_writer)

    def close(self) -> None:
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1


async def _ready(fd: int, add: Callable[..., object], remove: Callable[[int], object]) -> None:
    ready: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    def wake() -> None:
        if not ready.done():
            ready.set_result(None)

    add(fd, wake)
    try:
        await ready
    finally:
        remove(fd)
