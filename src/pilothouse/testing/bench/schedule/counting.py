"""Counts what comes about through the API, for as long as a phase may take."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Callable
from dataclasses import dataclass

from pilothouse.client.shared import SharedInformers
from pilothouse.kinds.core.pod import Pod


@dataclass(frozen=True, slots=True)
class Count:
    """`reached` of `wanted` in `seconds`, of which this process used `cpu` on a core."""

    reached: int
    wanted: int
    seconds: float
    cpu: float

    @property
    def rate(self) -> float:
        """A second."""
        return self.reached / self.seconds

    @property
    def whole(self) -> bool:
        return self.reached >= self.wanted

    @property
    def note(self) -> str:
        each = f"{1000 * self.cpu / max(self.reached, 1):.2f} ms of CPU each"
        part = f"{self.reached}" if self.whole else f"ONLY {self.reached} of {self.wanted}"
        return f"{part} in {self.seconds:.1f} s, {each}"


class Watched:
    """Pods that a condition holds of, each counted once."""

    def __init__(self, informers: SharedInformers, holds: Callable[[Pod], bool]) -> None:
        self._holds = holds
        self._keys: set[str] = set()
        self._changed = asyncio.Event()
        informers.of(Pod).subscribe(self._seen)

    def _seen(self, key: str, old: Pod | None, new: Pod | None) -> None:
        if new is not None and key not in self._keys and self._holds(new):
            self._keys.add(key)
            self._changed.set()

    async def reach(self, wanted: int, seconds: float, cause: Callable[[], None] | None = None) -> Count:
        """Starts `cause`, if any, and waits until `wanted` are counted, or until the time is over."""
        began, cpu, before = time.perf_counter(), time.process_time(), len(self._keys)
        if cause is not None:
            cause()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                while len(self._keys) < wanted:
                    self._changed.clear()
                    await self._changed.wait()
        return Count(len(self._keys) - before, wanted - before, time.perf_counter() - began, time.process_time() - cpu)
