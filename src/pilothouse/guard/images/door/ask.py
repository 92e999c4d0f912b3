"""What is known of an image at the door: asked once however many pods wait, within a deadline, kept for a while."""

from __future__ import annotations

import asyncio
import os
import sys
import time
from collections import OrderedDict
from pathlib import Path
from typing import Final

import msgspec

from pilothouse.guard.images.door.policy import Facts
from pilothouse.guard.images.places import data_file

_DEADLINE_SECONDS: Final = 8.0
"""Well under the ten seconds after which clients of admission give up."""
_KEPT_SECONDS: Final = 60.0
_KEPT: Final = 256
_AT_ONCE: Final = 2


class Door:
    """Asks about images by name; `folder` holds the data base and known layers."""

    def __init__(self, folder: Path, deadline: float = _DEADLINE_SECONDS) -> None:
        self._folder = folder
        self._deadline = deadline
        self._slots = asyncio.Semaphore(_AT_ONCE)
        self._asked: OrderedDict[str, tuple[object, float, asyncio.Task[Facts]]] = OrderedDict()

    async def facts(self, name: str) -> Facts:
        """What is known; an image that is not read in time is not scanned, and goes on being read for the next."""
        stamp = self._stamp()
        kept = self._asked.get(name)
        if kept is None or kept[0] != stamp or (kept[2].done() and time.monotonic() > kept[1]):
            task = asyncio.create_task(self._scan(name))
            kept = self._asked[name] = (stamp, time.monotonic() + _KEPT_SECONDS, task)
            self._asked.move_to_end(name)
            if len(self._asked) > _KEPT:
                self._asked.popitem(last=False)[1][2].cancel()
        try:
            async with asyncio.timeout(self._deadline):
                return await asyncio.shield(kept[2])
        except TimeoutError:
            return Facts((), (f"it could not be scanned within {self._deadline:g} s; it goes on, so try again",))

    def _stamp(self) -> object:
        try:
            status = data_file(self._folder).stat()
        except OSError:
            return None
        return status.st_mtime_ns, status.st_size

    async def _scan(self, name: str) -> Facts:
        async with self._slots:
            package = str(Path(__file__).parents[4])
            process = await asyncio.create_subprocess_exec(
                sys.executable,
                *("-m", "pilothouse.guard.images.door.scan", str(self._folder), name),
                env={**os.environ, "PYTHONPATH": package},
                stdin=asyncio.subprocess.DEVNULL,
                stdout=asyncio.subprocess.PIPE,
                start_new_session=True,
            )
            try:
                out, _ = await process.communicate()
            finally:
                if process.returncode is None:
                    process.kill()
        try:
            return msgspec.json.decode(out, type=Facts)
        except msgspec.DecodeError:
            return Facts((), (f"scanning it failed (exit code {process.returncode})",))
