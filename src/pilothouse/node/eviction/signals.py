"""What the node watches of itself, and the thresholds at which it acts. Pure.

Names, defaults and rules are upstream's (kubelet `eviction/api`, `eviction/helpers.go`).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from fractions import Fraction

from pilothouse.machinery.quantity import InvalidQuantity, to_bytes

MEMORY = "memory.available"
ALLOCATABLE_MEMORY = "allocatableMemory.available"
NODEFS, NODEFS_INODES = "nodefs.available", "nodefs.inodesFree"
IMAGEFS, IMAGEFS_INODES = "imagefs.available", "imagefs.inodesFree"
PIDS = "pid.available"

CONDITIONS = {
    MEMORY: "MemoryPressure",
    ALLOCATABLE_MEMORY: "MemoryPressure",
    NODEFS: "DiskPressure",
    NODEFS_INODES: "DiskPressure",
    IMAGEFS: "DiskPressure",
    IMAGEFS_INODES: "DiskPressure",
    PIDS: "PIDPressure",
}
RESOURCES = {
    MEMORY: "memory",
    ALLOCATABLE_MEMORY: "memory",
    NODEFS: "ephemeral-storage",
    NODEFS_INODES: "inodes",
    IMAGEFS: "ephemeral-storage",
    IMAGEFS_INODES: "inodes",
    PIDS: "pids",
}
"""What a signal is short of, as messages name it."""
DEFAULT_HARD = {MEMORY: "100Mi", NODEFS: "10%", NODEFS_INODES: "5%", IMAGEFS: "15%", IMAGEFS_INODES: "5%", PIDS: "5%"}
"""Upstream's; it leaves `pid.available` unset, here a fork bomb is to be noticed by default."""


class InvalidThreshold(ValueError):
    """A threshold that cannot be used; the message names it."""


@dataclass(frozen=True, slots=True)
class Amount:
    """A number of bytes, inodes or processes, or a share of what there is."""

    number: int = 0
    percent: Fraction | None = None

    def of(self, capacity: int) -> int:
        return self.number if self.percent is None else int(capacity * self.percent / 100)


@dataclass(frozen=True, slots=True)
class Threshold:
    """Acts when less than `least` of a signal is available; `grace` seconds of it first for a soft one."""

    signal: str
    least: Amount
    grace: float = 0.0
    min_reclaim: Amount = Amount()
    """How much more than `least` must be available before it counts as resolved."""

    @property
    def hard(self) -> bool:
        return self.grace == 0


@dataclass(frozen=True, slots=True)
class Observation:
    """How much of a signal there is, and how much is left."""

    capacity: int
    available: int


def amount(text: str, where: str) -> Amount:
    """A quantity or a percentage. Raises InvalidThreshold."""
    try:
        percent = Fraction(text[:-1]) if text.endswith("%") else None
        number = to_bytes(text) if percent is None else 0
    except (InvalidQuantity, ValueError) as error:
        raise InvalidThreshold(f"{where}: {text!r} is neither a quantity such as 100Mi nor a percentage") from error
    if percent is not None:
        if not 0 <= percent <= 100:
            raise InvalidThreshold(f"{where}: {text!r} is not between 0% and 100%")
        return Amount(percent=percent)
    if number < 0:
        raise InvalidThreshold(f"{where}: {text!r} is negative")
    return Amount(number)


def thresholds(
    hard: Mapping[str, str],
    soft: Mapping[str, str],
    grace: Mapping[str, float],
    min_reclaim: Mapping[str, str],
    *,
    allocatable: bool,
) -> tuple[Threshold, ...]:
    """The thresholds of a configuration; a percentage of 0 or 100 leaves a signal out. Raises InvalidThreshold.

    With `allocatable`, what all pods together may use is watched with the hard threshold of memory.
    """
    found: list[Threshold] = []
    for given, name in ((hard, "eviction_hard"), (soft, "eviction_soft")):
        for signal, text in given.items():
            if signal not in CONDITIONS or signal == ALLOCATABLE_MEMORY:
                known = ", ".join(sorted(set(CONDITIONS) - {ALLOCATABLE_MEMORY}))
                raise InvalidThreshold(f"{name}: unknown signal {signal!r}: known are {known}")
            least = amount(text, f"{name}[{signal}]")
            seconds = 0.0
            if given is soft:
                seconds = float(grace.get(signal, 0.0))
                if seconds <= 0:
                    raise InvalidThreshold(
                        f"eviction_soft_grace_period: {signal} needs a positive number of seconds, as it is in "
                        "eviction_soft"
                    )
            if least.percent in (0, 100):
                continue
            more = amount(min_reclaim.get(signal, "0"), f"eviction_minimum_reclaim[{signal}]")
            found.append(Threshold(signal, least, seconds, more))
    if allocatable and MEMORY in hard:
        found.append(Threshold(ALLOCATABLE_MEMORY, amount(hard[MEMORY], f"eviction_hard[{MEMORY}]")))
    return tuple(found)
