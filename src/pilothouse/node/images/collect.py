"""Which images to remove when the disk fills. Pure; thresholds are upstream's."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass

HIGH_PERCENT = 85
LOW_PERCENT = 80
MIN_AGE_SECONDS = 120.0


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
) -> list[str]:
    """Ids of unused images, longest unused first, as many as bring the disk from above 85 % to 80 %."""
    if disk_bytes <= 0 or used_bytes * 100 < disk_bytes * HIGH_PERCENT:
        return []
    excess = used_bytes - disk_bytes * LOW_PERCENT // 100
    unused = [
        image
        for image in images
        if image.id not in in_use and not image.pinned and now - last_used.get(image.id, 0.0) >= MIN_AGE_SECONDS
    ]
    chosen: list[str] = []
    for image in sorted(unused, key=lambda image: last_used.get(image.id, 0.0)):
        if excess <= 0:
            break
        chosen.append(image.id)
        excess -= image.size_bytes
    return chosen
