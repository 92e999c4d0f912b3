"""Work of drivers goes on by itself; who wants its outcome waits a moment, and comes back for it.

A driver may take minutes for one call, or hang: the node's workers, of which there are few, must not hang with it. So
only who starts the work waits, and whoever it is for is woken when it ends.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from functools import partial
from typing import Any, Generic, TypeVar

T = TypeVar("T")
Key = tuple[str, str]
"""A pod's uid, and what is done for it."""

SECONDS = 2.0


class NotYet(Exception):
    """The work still goes on; `seconds` since when."""

    def __init__(self, seconds: float) -> None:
        super().__init__(f"for {seconds:.0f} s")
        self.seconds = seconds


@dataclass(slots=True)
class _Work(Generic[T]):
    task: asyncio.Task[T]
    since: float
    unwanted: bool = False


class Patience(Generic[T]):
    """`finished` is called with a pod's uid when work for it ends that nobody waited for."""

    def __init__(self, finished: Callable[[str], None]) -> None:
        self._finished = finished
        self._work: dict[Key, _Work[T]] = {}

    async def outcome(self, key: Key, work: Callable[[], Coroutine[Any, Any, T]]) -> T:
        """What the work of that key comes to, or came to since the last call; started if there is none. Raises what it
        raised, and NotYet."""
        found = self._work.get(key)
        if found is None:
            task = asyncio.create_task(work(), name=f"{key[1]} for pod {key[0]}")
            found = self._work[key] = _Work(task, time.monotonic())
            await asyncio.wait([task], timeout=SECONDS)
            if not task.done():
                task.add_done_callback(partial(self._ended, key[0]))
        if not found.task.done():
            raise NotYet(time.monotonic() - found.since)
        self._work.pop(key, None)
        return found.task.result()

    def _ended(self, uid: str, task: asyncio.Task[T]) -> None:
        if not task.cancelled():
            task.exception()  # asked for, so that it is not reported as forgotten: the next call raises it
        self._finished(uid)

    async def cancel(self, uid: str = "") -> None:
        """Ends the work for a pod, or all there is. Raises NotYet while some has not ended."""
        ending = {key: work for key, work in self._work.items() if uid in ("", key[0])}
        fresh = [work for work in ending.values() if not work.unwanted]
        for work in fresh:
            # Once only: work that has to come to an end first would not survive being told again.
            work.unwanted = True
            work.task.cancel()
        if fresh:
            await asyncio.wait([work.task for work in fresh], timeout=SECONDS)
        for key, work in ending.items():
            if work.task.done():
                self._work.pop(key, None)
                if not work.task.cancelled():
                    work.task.exception()
            elif fresh:
                work.task.add_done_callback(partial(self._ended, key[0]))
        going_on = [time.monotonic() - work.since for work in ending.values() if not work.task.done()]
        if going_on:
            raise NotYet(max(going_on))
