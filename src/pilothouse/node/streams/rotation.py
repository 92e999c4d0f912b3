"""Rotation of containers' logs: a file that has grown too large is set aside and the runtime told to open a new one.

Nothing is watched: what a container writes goes by inotify unseen here, because one watch a container would cost more
than a look at their sizes every ten seconds does.
"""

from __future__ import annotations

import asyncio
import contextlib
import gzip
import logging
import os
import shutil
import time
from collections.abc import Awaitable, Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

log = logging.getLogger(__name__)

PERIOD_SECONDS = 10.0
HASTY_SECONDS = 1.0
"""Between looks at a log that was over its limit at the last one: a flood would fill the disk else."""


@dataclass(frozen=True, slots=True)
class RotationLimits:
    """Upstream's defaults of containerLogMaxSize and containerLogMaxFiles."""

    bytes: int = 10 << 20
    files: int = 5
    """How many of one container are kept, the one being written included."""


@dataclass(frozen=True, slots=True)
class RunningLog:
    """A running container and its log's path."""

    container_id: str
    path: str


Reopen = Callable[[str], Awaitable[None]]
"""Has the runtime open a container's log anew; raises if it cannot."""


async def rotate_forever(running: Callable[[], Iterable[RunningLog]], reopen: Reopen, limits: RotationLimits) -> None:
    """Looks at every running container's log each PERIOD_SECONDS; a failure is logged and tried again.

    Those that were too large at the last look are looked at each HASTY_SECONDS.
    """
    flooding: set[str] = set()
    whole_at = time.monotonic() + PERIOD_SECONDS
    while True:
        await asyncio.sleep(HASTY_SECONDS if flooding else max(HASTY_SECONDS, whole_at - time.monotonic()))
        whole = time.monotonic() >= whole_at
        if whole:
            whole_at = time.monotonic() + PERIOD_SECONDS
        chosen = [entry for entry in running() if whole or entry.path in flooding]
        flooding = set()
        for entry in chosen:
            try:
                if await look_after(entry, reopen, limits):
                    flooding.add(entry.path)
            except Exception as error:
                log.warning("the log %s was not rotated: %s", entry.path, error)


async def look_after(entry: RunningLog, reopen: Reopen, limits: RotationLimits) -> bool:
    """Rotates a log that has grown too large (True); raises if the runtime cannot.

    A running container without a log file is one whose rotation was cut short before the runtime opened the new one.
    """
    size = _size(entry.path)
    if size is None:
        await reopen(entry.container_id)
    elif size > limits.bytes:
        await rotate(entry, reopen, limits, time.time())
        return True
    return False


async def rotate(entry: RunningLog, reopen: Reopen, limits: RotationLimits, now: float) -> None:
    """Sets the file aside and removes the oldest ones. When the runtime cannot reopen it, everything is as before."""
    path = Path(entry.path)
    aside = path.with_name(f"{path.name}.{time.strftime('%Y%m%d-%H%M%S', time.gmtime(now))}")
    for older in to_remove(path.name, os.listdir(path.parent), limits.files - 2):
        with contextlib.suppress(FileNotFoundError):
            os.unlink(path.parent / older)
    os.rename(path, aside)
    try:
        await reopen(entry.container_id)
    except BaseException:
        _put_back(aside, path)
        raise
    for older in too_much(_sizes(path), limits.bytes * (limits.files - 1)):
        with contextlib.suppress(FileNotFoundError):
            os.unlink(path.parent / older)
    await asyncio.to_thread(_compress_older, path, aside)


def _put_back(aside: Path, path: Path) -> None:
    if not path.exists():
        aside.rename(path)


def to_remove(name: str, siblings: Iterable[str], keep: int) -> list[str]:
    """The files set aside earlier that must go so that `keep` of them are left, the newest."""
    rotated = sorted(sibling for sibling in siblings if sibling.startswith(name + "."))
    return rotated[: max(0, len(rotated) - max(0, keep))]


def too_much(sizes: Mapping[str, int], most: int) -> list[str]:
    """The oldest files set aside that go beyond `most` bytes; the newest always stays."""
    total, chosen = 0, []
    for number, (name, size) in enumerate(sorted(sizes.items(), reverse=True)):
        total += size
        if number and total > most:
            chosen.append(name)
    return chosen


def _sizes(path: Path) -> dict[str, int]:
    sizes = {}
    for sibling in path.parent.glob(f"{path.name}.*"):
        with contextlib.suppress(FileNotFoundError):
            sizes[sibling.name] = sibling.stat().st_size
    return sizes


def _compress_older(path: Path, newest: Path) -> None:
    """All but the newest, which someone may still be reading the end of."""
    for sibling in path.parent.glob(f"{path.name}.*"):
        if sibling == newest or sibling.suffix in (".gz", ".tmp"):
            continue
        temporary = sibling.with_name(sibling.name + ".tmp")
        with open(sibling, "rb") as source, gzip.open(temporary, "wb", compresslevel=1) as target:
            shutil.copyfileobj(source, target, 256 << 10)
        temporary.rename(sibling.with_name(sibling.name + ".gz"))
        sibling.unlink()


def _size(path: str) -> int | None:
    try:
        return os.stat(path).st_size
    except FileNotFoundError:
        return None
