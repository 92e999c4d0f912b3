"""What follows from how much of everything is left: which pressure to show, and which shortage to act on. Pure.

The rules are upstream's (`eviction_manager.go` `synchronize`): a threshold that was met stays so until its minimum was
reclaimed as well; a condition is shown for a time after it was last seen, so that it does not flap; a soft threshold
counts once it was met for its grace; memory goes before everything else.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from pilothouse.node.eviction.signals import ALLOCATABLE_MEMORY, CONDITIONS, MEMORY, Observation, Threshold


@dataclass(frozen=True, slots=True)
class History:
    """What is remembered from one look to the next."""

    met: tuple[Threshold, ...] = ()
    since: Mapping[Threshold, float] = field(default_factory=dict)
    """When each threshold that is met was first seen so."""
    seen: Mapping[str, float] = field(default_factory=dict)
    """When each condition was last seen to hold."""


@dataclass(frozen=True, slots=True)
class Judgement:
    """`due` is the threshold to act on now, if any."""

    conditions: frozenset[str]
    due: Threshold | None
    history: History


def judge(
    thresholds: Iterable[Threshold],
    observed: Mapping[str, Observation],
    history: History,
    now: float,
    transition: float,
) -> Judgement:
    """`transition` is how many seconds a condition is shown after it was last seen."""
    met = list(met_by(thresholds, observed))
    met += [t for t in met_by(history.met, observed, reclaimed=True) if t not in met]
    since = {threshold: history.since.get(threshold, now) for threshold in met}
    seen = {**history.seen, **{CONDITIONS[threshold.signal]: now for threshold in met}}
    shown = frozenset(kind for kind, at in seen.items() if now - at < transition or at == now)
    due = [threshold for threshold in met if now - since[threshold] >= threshold.grace]
    due.sort(key=_urgency)
    kept = {kind: at for kind, at in seen.items() if kind in shown}
    return Judgement(shown, due[0] if due else None, History(tuple(met), since, kept))


def met_by(
    thresholds: Iterable[Threshold], observed: Mapping[str, Observation], *, reclaimed: bool = False
) -> Iterable[Threshold]:
    """The thresholds that are met; with `reclaimed` also those whose minimum has not been won back yet."""
    for threshold in thresholds:
        found = observed.get(threshold.signal)
        if found is None:
            continue
        least = threshold.least.of(found.capacity)
        if reclaimed:
            least += threshold.min_reclaim.of(found.capacity)
        if found.available < least:
            yield threshold


def _urgency(threshold: Threshold) -> tuple[bool, bool, str]:
    return (threshold.signal not in (MEMORY, ALLOCATABLE_MEMORY), not threshold.hard, threshold.signal)
