"""A queue of keys: each is worked on by one worker at a time, is remembered while it is, and backs off on errors."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from pilothouse.machinery.errors import ApiError, Conflict, ServiceUnavailable

log = logging.getLogger(__name__)

Reconcile = Callable[[str], Awaitable[float | None]]
"""Brings one key to its desired state. Returns None when done, or the seconds after which to look again."""


@dataclass(frozen=True, slots=True)
class Backoff:
    """Waits before a failed key is tried again: `first` seconds, doubling to `most`."""

    first: float = 0.05
    most: float = 60.0

    def delay(self, failures: int) -> float:
        return float(min(self.most, self.first * 2 ** min(failures - 1, 30)))


class KeyedQueue:
    """Keys in order of arrival, each at most once; a key added while worked on is taken again afterwards."""

    def __init__(self) -> None:
        self._ready: dict[str, None] = {}
        self._active: set[str] = set()
        self._again: set[str] = set()
        self._timers: dict[str, asyncio.TimerHandle] = {}
        self._wake = asyncio.Event()

    def __len__(self) -> int:
        return len(self._ready) + len(self._active)

    @property
    def idle(self) -> bool:
        """True when no key is waiting or worked on (delayed keys not counted)."""
        return not self._ready and not self._active

    def add(self, key: str) -> None:
        timer = self._timers.pop(key, None)
        if timer is not None:
            timer.cancel()
        if key in self._active:
            self._again.add(key)
        elif key not in self._ready:
            self._ready[key] = None
            self._wake.set()

    def add_after(self, key: str, seconds: float) -> None:
        """Adds the key after a delay; the earlier of two delays counts, and `add` beats both."""
        loop = asyncio.get_running_loop()
        timer = self._timers.get(key)
        if timer is not None:
            if timer.when() <= loop.time() + seconds:
                return
            timer.cancel()
        self._timers[key] = loop.call_later(seconds, self.add, key)

    async def get(self) -> str:
        while not self._ready:
            self._wake.clear()
            await self._wake.wait()
        key = next(iter(self._ready))
        del self._ready[key]
        self._active.add(key)
        return key

    def done(self, key: str) -> None:
        self._active.discard(key)
        if key in self._again:
            self._again.discard(key)
            self.add(key)

    def close(self) -> None:
        for timer in self._timers.values():
            timer.cancel()
        self._timers.clear()


async def work(
    name: str,
    queue: KeyedQueue,
    reconcile: Reconcile,
    *,
    workers: int = 1,
    backoff: Backoff = Backoff(),
) -> None:
    """Runs `reconcile` over the queue's keys until cancelled; what it raises is logged and the key tried again."""
    failures: dict[str, int] = {}

    async def worker() -> None:
        while True:
            key = await queue.get()
            try:
                again = await reconcile(key)
                failures.pop(key, None)
                if again is not None:
                    queue.add_after(key, again)
            except Exception as error:
                count = failures[key] = failures.get(key, 0) + 1
                if isinstance(error, Conflict):
                    log.debug("%s: %s: %s", name, key, error)
                elif isinstance(error, (ApiError, OSError)):
                    level = logging.DEBUG if isinstance(error, ServiceUnavailable) else logging.WARNING
                    log.log(level, "%s: %s: %s", name, key, error)
                else:
                    log.exception("%s: %s failed", name, key)
                queue.add_after(key, backoff.delay(count))
            finally:
                queue.done(key)

    try:
        async with asyncio.TaskGroup() as group:
            for _ in range(workers):
                group.create_task(worker())
    finally:
        queue.close()
