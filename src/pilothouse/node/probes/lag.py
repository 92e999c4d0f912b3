"""How late this process's event loop runs: a probe that timed out while it lagged says nothing about its target."""

from __future__ import annotations

import asyncio

_PERIOD = 0.25
_TOLERANCE = 0.1
"""Seconds of lag that do not yet excuse a time-out."""


class LoopLag:
    """Measures how late timers fire. It only runs while someone waits on a probe."""

    def __init__(self) -> None:
        self._waiting = 0
        self._timer: asyncio.TimerHandle | None = None
        self._due = 0.0
        self.total = 0.0
        """All lag seen so far, in seconds; the growth between two moments is the lag between them."""

    def enter(self) -> float:
        """A probe begins; keep what is returned for `leave`."""
        self._waiting += 1
        if self._timer is None:
            self._arm()
        return self.total

    def leave(self, before: float) -> bool:
        """A probe is over: whether the loop lagged too much meanwhile for a time-out to count."""
        self._waiting -= 1
        loop = asyncio.get_running_loop()
        late = max(0.0, loop.time() - self._due) if self._timer is not None else 0.0
        if not self._waiting and self._timer is not None:
            self._timer.cancel()
            self._timer = None
        return self.total + late - before > _TOLERANCE

    def _arm(self) -> None:
        loop = asyncio.get_running_loop()
        self._due = loop.time() + _PERIOD
        self._timer = loop.call_at(self._due, self._fired)

    def _fired(self) -> None:
        self.total += max(0.0, asyncio.get_running_loop().time() - self._due)
        self._arm()
