"""Measurements and rates. Nothing is measured while nobody asks.

A rate needs two measurements. The one kept from the last request serves as the first if it is between one second and
two minutes old; otherwise two are taken a fifth of a second apart.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from pilothouse.node.stats.groups import Usage
from pilothouse.node.stats.network import Interface

YOUNGEST, OLDEST = 1.0, 120.0
_GAP_SECONDS = 0.2
HOST = ""
"""The key of the host itself; other keys are paths of control groups."""


@dataclass(frozen=True, slots=True)
class Sample:
    """One reading of everything."""

    time: float
    usage: Mapping[str, Usage]
    interfaces: Mapping[str, list[Interface]]


@dataclass(frozen=True, slots=True)
class Measured:
    """A group's usage and the CPU rate up to it, in billionths of a core; None while only one reading exists."""

    usage: Usage
    nano_cores: int | None


def rate(before: Usage | None, after: Usage) -> int | None:
    """Billionths of a core used between two readings."""
    if before is None or after.time <= before.time or after.cpu_ns < before.cpu_ns:
        return None
    return int((after.cpu_ns - before.cpu_ns) / (after.time - before.time))


def combine(before: Sample, after: Sample) -> dict[str, Measured]:
    return {key: Measured(usage, rate(before.usage.get(key), usage)) for key, usage in after.usage.items()}


class Sampler:
    """`read` takes one reading; it runs in a thread, because the kernel's files may take their time."""

    def __init__(self, read: Callable[[], Sample]) -> None:
        self._read = read
        self._kept: Sample | None = None
        self._lock = asyncio.Lock()

    async def measure(self) -> tuple[Sample, dict[str, Measured]]:
        """The newest reading, and usage with rates by key."""
        async with self._lock:
            after = await asyncio.to_thread(self._read)
            before = self._kept
            if before is None or not YOUNGEST <= after.time - before.time <= OLDEST or _new_groups(before, after):
                before = after
                await asyncio.sleep(_GAP_SECONDS)
                after = await asyncio.to_thread(self._read)
            self._kept = after
            return after, combine(before, after)


def _new_groups(before: Sample, after: Sample) -> bool:
    """Whether something has no earlier reading and so would have no rate."""
    return not after.usage.keys() <= before.usage.keys()
