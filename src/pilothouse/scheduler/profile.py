"""What a scheduler aims at: pods spread over nodes, or packed on few so that the others can be given back."""

from __future__ import annotations

from enum import Enum


class Profile(Enum):
    """Named after the scoring strategies of upstream's NodeResourcesFit."""

    SPREAD = "LeastAllocated"
    PACK = "MostAllocated"


SCHEDULERS = {"default-scheduler": Profile.SPREAD, "bin-packing-scheduler": Profile.PACK}
"""The names that a pod's `schedulerName` may have here, and what each aims at."""


def profile_of(scheduler: str) -> Profile:
    """The aim of a scheduler by name; another one's pods are looked at as the default one's."""
    return SCHEDULERS.get(scheduler, Profile.SPREAD)
