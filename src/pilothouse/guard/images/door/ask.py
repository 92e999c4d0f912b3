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
from pilothouse.guard.images.door.question import Question
from pilothouse.guard.images.places import data_file

_DEADLINE_SECONDS: Final = 8.0
"""Well under the ten seconds after which clients of admission give up."""
_LONGEST_SECONDS: Final = 300.0
_KEPT_SECONDS: Final = 60.0
_UNSIGNED_SECONDS: Final = 5.0
"""So long it is kept that no key has signed an image: whoever signs it then tries again."""
_KEPT: Final = 256
_AT_ONCE: Final = 2


class Door:
    """Asks about images. `folder` holds the data base, known layers and signatures; `certs`, a `certs.d` of containerd,
    says where registries are asked."""

    def __init__(self, folder: Path, certs: Path, deadline: float = _DEADLINE_SECONDS) -> None:
        self._folder = folder
        self._certs = certs
        self._deadline = deadline
        self._slots = asyncio.Semaphore(_AT_ONCE)
        self._asked: OrderedDict[bytes, tuple[object, float, asyncio.Task[Facts]]] = OrderedDict()

    async def facts(self, question: Question) -> Facts:
        """What is known; an image that is not read in time is not scanned, and goes on being read for the next."""
        stamp = self._stamp()
        key = msgspec.json.encode(question)
        kept = self._asked.get(key)
        if kept is None or kept[0] != stamp or _over(kept[1], kept[2]):
            kept = self._keep(key, stamp, asyncio.create_task(self._look(key)))
        try:
            async with asyncio.timeout(self._deadline):
                return await asyncio.shield(kept[2])
        except TimeoutError:
            late = f"it could not be looked at within {self._deadline:g} s; that goes on, so try again"
            return Facts((), (late,) if question.scan else (), unsigned=late if question.keys else "")

    def same(self, question: Question, other: Question) -> None:
        """What was answered of an image is so of the same one under another name."""
        kept = self._asked.get(msgspec.json.encode(question))
        if kept is not None:
            self._keep(msgspec.json.encode(other), kept[0], kept[2])

    def _keep(self, key: bytes, stamp: object, task: asyncio.Task[Facts]) -> tuple[object, float, asyncio.Task[Facts]]:
        kept = self._asked[key] = (stamp, time.monotonic() + _KEPT_SECONDS, task)
        self._asked.move_to_end(key)
        if len(self._asked) > _KEPT:
            self._asked.popitem(last=False)[1][2].cancel()
        return kept

    def _stamp(self) -> object:
        try:
            status = data_file(self._folder).stat()
        except OSError:
            return None
        return status.st_mtime_ns, status.st_size

    async def _look(self, question: bytes) -> Facts:
        async with self._slots:
            package = str(Path(__file__).parents[4])
            process = await asyncio.create_subprocess_exec(
                sys.executable,
                *("-m", "pilothouse.guard.images.door.scan", str(self._folder), str(self._certs)),
                env={**os.environ, "PYTHONPATH": package},
                stdin=asyncio.subprocess.PIPE,
                stdout=asyncio.subprocess.PIPE,
                start_new_session=True,
            )
            out = b""
            try:
                async with asyncio.timeout(_LONGEST_SECONDS):
                    out, _ = await process.communicate(question)
            except TimeoutError:
                pass  # without an answer; others wait for its place
            finally:
                if process.returncode is None:
                    process.kill()
                    await process.wait()
        try:
            return msgspec.json.decode(out, type=Facts)
        except msgspec.DecodeError:
            reason = f"looking at it failed (exit code {process.returncode})"
            return Facts((), (reason,), unsigned=reason)


def _over(until: float, task: asyncio.Task[Facts]) -> bool:
    """Whether an answer is too old to be given again."""
    if not task.done():
        return False
    unsigned = task.cancelled() or task.exception() is not None or task.result().unsigned
    return time.monotonic() > (until - _KEPT_SECONDS + _UNSIGNED_SECONDS if unsigned else until)
