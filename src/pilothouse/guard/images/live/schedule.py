"""Updates of vulnerability data on a timer: asked for by `pilothouse vulndb schedule`, done in a process of its own."""

from __future__ import annotations

import asyncio
import logging
import math
import os
import random
import sys
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Final

import msgspec

log = logging.getLogger(__name__)

FILE: Final = "schedule.json"
_LOOK_SECONDS: Final = 60.0
_JITTER: Final = 0.1
_RETRY_SECONDS: Final = 3600.0
_LONGEST: Final = 3600.0 * 4


class Schedule(msgspec.Struct, frozen=True):
    """Every so many hours, from an origin ("" for where feeds are published)."""

    hours: float
    origin: str = ""


def read_schedule(folder: Path) -> Schedule | None:
    """The schedule, None when there is none (or the file is broken, which is logged)."""
    try:
        return msgspec.json.decode((folder / FILE).read_bytes(), type=Schedule)
    except FileNotFoundError:
        return None
    except (OSError, msgspec.DecodeError) as error:
        log.error("%s: %s", folder / FILE, error)
        return None


def write_schedule(folder: Path, schedule: Schedule | None) -> None:
    """Keeps a schedule, or takes it away. Raises OSError."""
    file = folder / FILE
    if schedule is None:
        file.unlink(missing_ok=True)
        return
    folder.mkdir(parents=True, exist_ok=True)
    fresh = file.with_suffix(".new")
    fresh.write_bytes(msgspec.json.encode(schedule))
    fresh.rename(file)


def jitter() -> float:
    """What a waiting time is multiplied by, so that engines do not all ask at the same time."""
    return 1.0 + random.uniform(-_JITTER, _JITTER)


async def update_on_schedule(
    folder: Path,
    *,
    now: Callable[[], float] = time.time,
    pause: Callable[[float], Awaitable[None]] = asyncio.sleep,
    jitter: Callable[[], float] = jitter,
) -> None:
    """Runs until cancelled. The time of the last update is that of a file, so a restart updates no sooner.

    After an update that failed the next comes within the hour; what was there before stays.
    """
    stamp = folder / "scheduled"
    failed = False
    factor = jitter()
    while True:
        schedule = read_schedule(folder)
        if schedule is not None and now() - _done(stamp) > _wait(schedule, failed) * factor:
            factor = jitter()
            stamp.touch()
            os.utime(stamp, (now(), now()))
            failed = not await _update(folder, schedule)
        await pause(_LOOK_SECONDS)


def _wait(schedule: Schedule, failed: bool) -> float:
    seconds = schedule.hours * 3600
    return min(seconds, _RETRY_SECONDS) if failed else seconds


def _done(stamp: Path) -> float:
    try:
        return stamp.stat().st_mtime
    except OSError:
        return -math.inf


async def _update(folder: Path, schedule: Schedule) -> bool:
    """False when a feed could not be brought up to date."""
    package = str(Path(__file__).parents[4])
    words = ["-m", "pilothouse.guard.images.data.refresh", str(folder)] + ([schedule.origin] if schedule.origin else [])
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        *words,
        env={**os.environ, "PYTHONPATH": package},
        stdin=asyncio.subprocess.DEVNULL,
        stderr=asyncio.subprocess.PIPE,
        start_new_session=True,
    )
    try:
        async with asyncio.timeout(_LONGEST):
            _, errors = await process.communicate()
        for line in errors.decode("utf-8", "replace").splitlines()[:20]:
            log.warning("vulnerability data: %s", line)
    except TimeoutError:
        log.warning("vulnerability data: the update took more than %.0f hours and was ended", _LONGEST / 3600)
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    return process.returncode == 0
