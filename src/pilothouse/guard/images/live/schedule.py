"""Updates of vulnerability data on a timer: asked for by `pilothouse vulndb schedule`, done in a process of its own."""

from __future__ import annotations

import asyncio
import logging
import os
import random
import sys
import time
from pathlib import Path
from typing import Final

import msgspec

log = logging.getLogger(__name__)

FILE: Final = "schedule.json"
_LOOK_SECONDS: Final = 60.0
_JITTER: Final = 0.1
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


async def update_on_schedule(folder: Path) -> None:
    """Runs until cancelled. The time of the last update is that of a file, so a restart updates no sooner."""
    stamp = folder / "scheduled"
    factor = 1.0 + random.uniform(-_JITTER, _JITTER)
    while True:
        schedule = read_schedule(folder)
        if schedule is not None and _age(stamp) > schedule.hours * 3600 * factor:
            factor = 1.0 + random.uniform(-_JITTER, _JITTER)
            stamp.touch()
            await _update(folder, schedule)
        await asyncio.sleep(_LOOK_SECONDS)


def _age(stamp: Path) -> float:
    try:
        return time.time() - stamp.stat().st_mtime
    except OSError:
        return float("inf")


async def _update(folder: Path, schedule: Schedule) -> None:
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
