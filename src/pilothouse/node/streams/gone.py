"""Logs that outlive their pods: which there are, and what is in them, through all attempts and rotated parts."""

from __future__ import annotations

import asyncio
import gzip
import os
import re
from collections import deque
from collections.abc import AsyncGenerator, Collection, Iterator
from dataclasses import dataclass, replace
from io import BufferedReader
from pathlib import Path

from pilothouse.node.streams.log_line import LogFilter, LogOptions

_PIECE = 128 << 10
_PART = re.compile(r"(\d+)\.log(?:\.(\d{8}-\d{6}))?(\.gz)?")
_NEWEST = "99999999-999999"
"""Sorts the file that was written last behind those that were set aside."""
_TAIL_MOST = 100_000
"""Lines of a tail that are held in memory."""


@dataclass(frozen=True, slots=True)
class GoneLog:
    """The log of a container whose pod is gone."""

    pod: str
    uid: str
    container: str
    attempts: int
    bytes: int
    ended: float
    """When it was last written, in seconds since the epoch."""


def find(root: Path, namespace: str, name: str, known: Collection[str], *, prefix: bool) -> list[GoneLog]:
    """Logs of pods of that name (or whose name begins with it and a dash) that are not `known` by uid; oldest first."""
    found = []
    for directory in root.glob(f"{namespace}_*"):
        _, pod, uid = (*directory.name.split("_"), "", "")[:3]
        fits = pod == name or (prefix and pod.startswith(f"{name}-"))
        if not fits or not uid or uid in known:
            continue
        for container in sorted(path for path in directory.iterdir() if path.is_dir()):
            parts = parts_of(container)
            if parts:
                states = [part.stat() for part in parts]
                attempts = len({part.name.partition(".")[0] for part in parts})
                size, last = sum(s.st_size for s in states), max(s.st_mtime for s in states)
                found.append(GoneLog(pod, uid, container.name, attempts, size, last))
    return sorted(found, key=lambda log: (log.ended, log.pod, log.container))


def parts_of(container: Path) -> list[Path]:
    """The files of a container's log, as they were written."""
    parts = []
    for entry in os.scandir(container):
        match = _PART.fullmatch(entry.name)
        if match is not None:
            parts.append((int(match[1]), match[2] or _NEWEST, Path(entry.path)))
    return [path for _, _, path in sorted(parts)]


async def read(container: Path, options: LogOptions) -> AsyncGenerator[bytes]:
    """All of the container's log, or its end. Files that are removed meanwhile are passed over."""
    tail = options.tail_lines
    chosen = LogFilter(replace(options, tail_lines=None))
    if tail is not None:
        last = await asyncio.to_thread(_tail, container, min(tail, _TAIL_MOST))
        if output := chosen.feed(last):
            yield output
        return
    for part in await asyncio.to_thread(parts_of, container):
        pieces = _pieces(part)
        while (lines := await asyncio.to_thread(next, pieces, None)) is not None and not chosen.exhausted:
            if output := chosen.feed(lines):
                yield output


def _tail(container: Path, count: int) -> list[bytes]:
    last: deque[bytes] = deque(maxlen=count)
    for part in parts_of(container):
        for lines in _pieces(part):
            last.extend(lines)
    return list(last)


def _pieces(part: Path) -> Iterator[list[bytes]]:
    rest = b""
    try:
        with _open(part) as file:
            while piece := file.read(_PIECE):
                lines = (rest + piece).split(b"\n")
                rest = lines.pop()
                yield lines
    except (FileNotFoundError, EOFError, gzip.BadGzipFile):
        return
    if rest:
        yield [rest]


def _open(part: Path) -> gzip.GzipFile | BufferedReader:
    return gzip.open(part, "rb") if part.suffix == ".gz" else open(part, "rb")
