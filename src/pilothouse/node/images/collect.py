"""Which images to remove when the disk fills. Pure; thresholds are upstream's."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Limits:
    """When removing begins and ends, in percent of the disk, and how long an image must have been unused."""

    high_percent: int = 85
    low_percent: int = 80
    min_age: float = 120.0


DEFAULTS = Limits()
EVERYTHING = Limits(0, 0, 0.0)
"""All that nobody uses, when the disk is short."""


@dataclass(frozen=True, slots=True)
class Stored:
    """An image on disk."""

    id: str
    size_bytes: int
    pinned: bool = False


def to_remove(
    images: Iterable[Stored],
    in_use: Collection[str],
    last_used: Mapping[str, float],
    disk_bytes: int,
    used_bytes: int,
    now: float,
    limits: Limits = DEFAULTS,
) -> list[str]:
    """Ids of unused images, longest unused first, as many as bring the disk from above the high mark to the low one."""
    if disk_bytes <= 0 or used_bytes * 100 < disk_bytes * limits.high_percent:
        return []
    excess = used_bytes - disk_bytes * limits.low_percent // 100
    unused = [
        image
        for image in images
        if image.id not in in_use and not image.pinned and now - last_used.get(image.id, 0.0) >= limits.min_age
    ]
    chosen: list[str] = []
    for image in sorted(unused, key=lambda image: last_used.get(image.id, 0.0)):
        if excess <= 0:
            break
        chosen.append(image.id)
        excess -= image.size_bytes
    return chosen
