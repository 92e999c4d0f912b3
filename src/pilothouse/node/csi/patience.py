"""Work of drivers goes on by itself; who wants its outcome waits a while, and comes back for it.

A driver may take minutes for one call, or hang: the node's workers, of which there are few, must not hang with it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any, Generic, TypeVar

T = TypeVar("T")
Key = tuple[str, str]
"""A pod's uid, and what is done for it."""

SECONDS = 10.0


class NotYet(Exception):
    """The work still goes on."""


class Patience(Generic[T]):
    """`finished` is called when work ends that somebody went away from."""

    def __init__(self, finished: Callable[[], None]) -> None:
        self._finished = finished
        self._tasks: dict[Key, asyncio.Task[T]] = {}

    async def outcome(self, key: Key, work: Callable[[], Coroutine[Any, Any, T]]) -> T:
        """What the work of that key comes to, or came to since the last call; started if there is none. Raises what it
        raised, and NotYet."""
        task = self._tasks.get(key)
        if task is None:
            task = self._tasks[key] = asyncio.create_task(work(), name=f"{key[1]} for pod {key[0]}")
        done, _ = await asyncio.wait([task], timeout=SECONDS)
        if not done:
            task.add_done_callback(self._told)
            raise NotYet
        self._tasks.pop(key, None)
        return task.result()

    def _told(self, task: asyncio.Task[T]) -> None:
        if not task.cancelled():
            task.exception()  # asked for, so that it is not reported as forgotten: the next call raises it
            self._finished()

    async def cancel(self, uid: str = "") -> None:
        """Ends the work for a pod, or all there is. Raises NotYet while some has not ended."""
        ending = {key: task for key, task in self._tasks.items() if uid in ("", key[0])}
        for task in ending.values():
            task.cancel()
        if not ending:
            return
        done, going_on = await asyncio.wait(ending.values(), timeout=SECONDS)
        for key, task in ending.items():
            if task in done:
                self._tasks.pop(key, None)
                if not task.cancelled():
                    task.exception()
        if going_on:
            raise NotYet
