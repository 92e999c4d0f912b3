"""What control and node share as processes: logging, garbage collection, signals, a watch over the supervisor."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import logging
import os
import signal
import subprocess
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path

import uvloop

from pilothouse.launch import runfile

log = logging.getLogger(__name__)

_AFTER_ALL = 1.0
RESPAWN = "PILOTHOUSE_RESPAWN"
"""Set where no service manager would start a supervisor again that was killed."""


def set_up(name: str) -> None:
    """Logging to standard error (a file that the supervisor keeps bounded), and a collector that rarely runs.

    Everything imported so far is taken out of the collector's sight: it never becomes garbage, and a full collection
    over it would stall the event loop.
    """
    logging.basicConfig(
        level=os.environ.get("PILOTHOUSE_LOG", "INFO").upper(),
        format=f"%(asctime)s %(levelname)s {name} %(name)s: %(message)s",
        stream=sys.stderr,
    )
    logging.getLogger("aiohttp.access").setLevel(logging.WARNING)
    gc.collect()
    gc.freeze()
    gc.set_threshold(20_000, 20, 50)


def run(main: Callable[[], Awaitable[None]]) -> None:
    """Runs `main` until it returns, or until SIGTERM or SIGINT cancels it."""

    async def body() -> None:
        task = asyncio.current_task()
        assert task is not None
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, task.cancel)
        await main()

    with contextlib.suppress(asyncio.CancelledError, KeyboardInterrupt):
        uvloop.run(body())


async def guard_supervisor(data_dir: Path) -> None:
    """Starts the supervisor again when it dies; without a service manager (see RESPAWN) nobody else would.

    A supervisor that is told to stop ends this process first, so one that is gone while we run was killed. Control and
    node both watch, since both may be killed; of two new supervisors, the one without the lock ends at once.
    """
    if os.environ.get(RESPAWN) != "1":
        return
    run_dir = data_dir / "run"
    while True:
        running = runfile.read(run_dir, "supervisor")
        if running is not None:
            await _ended(running.pid)
            # Whoever kills everything, one process after another, is done by then with this one too.
            await asyncio.sleep(_AFTER_ALL)
            log.warning("the supervisor (pid %d) was killed; starting another", running.pid)
        process = await asyncio.to_thread(_start_supervisor, data_dir)
        for _ in range(100):
            if runfile.read(run_dir, "supervisor") is not None:
                break
            if process.poll() is not None:  # the other has the lock, or the disk is full
                await asyncio.sleep(_AFTER_ALL)
                break
            await asyncio.sleep(0.05)


def _start_supervisor(data_dir: Path) -> subprocess.Popen[bytes]:
    with (data_dir / "logs" / "supervisor.log").open("ab") as out:
        return subprocess.Popen(
            [sys.executable, "-m", "pilothouse.launch.supervisor", "--data-dir", str(data_dir)],
            stdin=subprocess.DEVNULL,
            stdout=out,
            stderr=out,
            start_new_session=True,
            cwd="/",
        )


async def _ended(pid: int) -> None:
    """Returns when the process is gone."""
    try:
        descriptor = os.pidfd_open(pid)
    except ProcessLookupError:
        return
    loop = asyncio.get_running_loop()
    ended = asyncio.Event()
    loop.add_reader(descriptor, ended.set)
    try:
        await ended.wait()
    finally:
        loop.remove_reader(descriptor)
        os.close(descriptor)
