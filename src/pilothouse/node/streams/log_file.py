"""Reading a container's log file, and following it through rotation until the container ends."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncGenerator
from pathlib import Path
from typing import BinaryIO

from pilothouse.linux import inotify
from pilothouse.node.streams.log_line import LogFilter, LogOptions, tail_start

_PIECE = 128 << 10
_FIRST_TAIL = 64 << 10
_SETTLE_SECONDS = 0.3
"""How long lines that are on their way may take to arrive in a file that was rotated away or whose container ended."""
_EVENTS = (
    inotify.IN_MODIFY
    | inotify.IN_CLOSE_WRITE
    | inotify.IN_CREATE
    | inotify.IN_MOVED_TO
    | inotify.IN_MOVED_FROM
    | inotify.IN_DELETE
)


class _Lines:
    """Whole lines of one open file; the rest of an unfinished line waits for its end."""

    def __init__(self, file: BinaryIO) -> None:
        self.file = file
        self._rest = b""

    def read(self) -> list[bytes] | None:
        """The next lines, possibly none of a piece without line break; None at the (present) end."""
        piece = self.file.read(_PIECE)
        if not piece:
            return None
        lines = (self._rest + piece).split(b"\n")
        self._rest = lines.pop()
        return lines

    def last(self) -> list[bytes]:
        """A last line that no line break ends."""
        rest, self._rest = self._rest, b""
        return [rest] if rest else []

    @property
    def inode(self) -> int:
        return os.fstat(self.file.fileno()).st_ino


def _open(path: Path, tail_lines: int | None) -> _Lines:
    file = open(path, "rb", buffering=0)  # noqa: SIM115  it is read from for as long as the client follows
    if tail_lines is not None:
        file.seek(_tail_offset(file, tail_lines))
    return _Lines(file)


def _tail_offset(file: BinaryIO, count: int) -> int:
    """Where the last `count` lines begin; looks at ever larger ends of the file."""
    size = os.fstat(file.fileno()).st_size
    window = _FIRST_TAIL
    while True:
        begin = max(0, size - window)
        file.seek(begin)
        data = b""
        while len(data) < size - begin and (piece := file.read(size - begin - len(data))):
            data += piece
        start = tail_start(data, count, whole=begin == 0)
        if start is not None:
            return begin + start
        window *= 4


def _open_with_before(path: Path, tail_lines: int | None) -> list[_Lines]:
    """The file, and before it the one set aside last, as far as it is needed: just after a rotation there is little in
    the new one. Raises FileNotFoundError."""
    current = _open(path, tail_lines)
    aside = _set_aside(path, current.inode)
    if aside is None:
        return [current]
    if tail_lines is None:
        return [_open(aside, None), current]
    missing = tail_lines - _count(current.file) if current.file.tell() == 0 else 0
    return [_open(aside, missing), current] if missing > 0 else [current]


def _set_aside(path: Path, but: int) -> Path | None:
    """The newest file set aside and not compressed, unless it is the one with the inode `but`."""
    newest = max((p for p in path.parent.glob(f"{path.name}.*") if p.suffix not in (".gz", ".tmp")), default=None)
    try:
        return newest if newest is not None and newest.stat().st_ino != but else None
    except FileNotFoundError:
        return None


def _count(file: BinaryIO) -> int:
    """Full lines of a file that is read from its beginning again."""
    count = 0
    while piece := file.read(_PIECE):
        count += piece.count(b"\n")
    file.seek(0)
    return count


async def read_log(path: Path, options: LogOptions) -> AsyncGenerator[bytes]:
    """What is in the file now. Raises FileNotFoundError."""
    chosen = LogFilter(options)
    files = await asyncio.to_thread(_open_with_before, path, options.tail_lines)
    try:
        async for output in _read(files, chosen):
            yield output
    finally:
        for lines in files:
            lines.file.close()


async def _read(files: list[_Lines], chosen: LogFilter) -> AsyncGenerator[bytes]:
    """What is in the files, one after another."""
    for lines in files:
        while (piece := lines.read()) is not None and not chosen.exhausted:
            output = chosen.feed(piece)
            # Lets others in between two pieces, whatever the client's speed.
            await asyncio.sleep(0)
            if output:
                yield output
        if output := chosen.feed(lines.last()):
            yield output


async def follow_log(path: Path, options: LogOptions, ended: asyncio.Future[None]) -> AsyncGenerator[bytes]:
    """What is in the file and what is added to it, until `ended` is done and all is read. Raises FileNotFoundError."""
    chosen = LogFilter(options)
    with inotify.DirectoryWatch(path.parent, _EVENTS) as watch:
        *before, lines = await asyncio.to_thread(_open_with_before, path, options.tail_lines)
        try:
            async for output in _read(before, chosen):
                yield output
            while not chosen.exhausted:
                piece = lines.read()
                if piece is not None:
                    output = chosen.feed(piece)
                    await asyncio.sleep(0)
                    if output:
                        yield output
                    continue
                if _rotated(path, lines):
                    await _settle(watch)
                    while (piece := lines.read()) is not None:
                        if output := chosen.feed(piece):
                            yield output
                    lines.file.close()
                    lines = _open(path, None)
                elif ended.done():
                    if not await _settle(watch):
                        break
                else:
                    await _changed(watch, ended)
            if output := chosen.feed(lines.last()):
                yield output
        finally:
            for opened in (*before, lines):
                opened.file.close()


def _rotated(path: Path, lines: _Lines) -> bool:
    """Whether another file has taken the place of the open one. Between rename and new file there is none, yet."""
    try:
        return path.stat().st_ino != lines.inode
    except FileNotFoundError:
        return False


async def _settle(watch: inotify.DirectoryWatch) -> bool:
    """Waits a moment for a change; False when none came."""
    try:
        async with asyncio.timeout(_SETTLE_SECONDS):
            await watch.wait()
    except TimeoutError:
        return False
    return True


async def _changed(watch: inotify.DirectoryWatch, ended: asyncio.Future[None]) -> None:
    """Returns at a change of the directory, or when the container has ended."""
    waiting = asyncio.ensure_future(watch.wait())
    try:
        await asyncio.wait((waiting, ended), return_when=asyncio.FIRST_COMPLETED)
    finally:
        waiting.cancel()
        await asyncio.gather(waiting, return_exceptions=True)
