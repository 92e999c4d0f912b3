"""How fast a target may be scaled: stabilisation windows, policies per period, least and most. Pure.

Source of the rules and wording: upstream's horizontal controller.
"""

from __future__ import annotations

import datetime as dt
import math
from dataclasses import dataclass, field, replace
from fractions import Fraction
from typing import NamedTuple

from pilothouse.kinds.autoscaling.horizontal_pod_autoscaler import (
    HorizontalPodAutoscalerBehavior,
    HPAScalingPolicy,
    HPAScalingRules,
)

DOWN_WINDOW_SECONDS = 300
"""How long a lower recommendation must last before it counts, unless the behaviour says otherwise."""
_MOST_REMEMBERED = 1000
_PLAIN_FACTOR, _PLAIN_LEAST = 2, 4
"""Without a behaviour: at most twice as many at once, or four."""


class Recommendation(NamedTuple):
    at: dt.datetime
    replicas: int


class ScaleEvent(NamedTuple):
    """A change that was made: by how many replicas, up or down."""

    at: dt.datetime
    change: int


@dataclass(frozen=True, slots=True)
class History:
    """What one autoscaler remembers. It lives in memory only: after a restart the current size is the first
    recommendation, so that nothing is scaled down before a whole window was seen."""

    recommendations: tuple[Recommendation, ...] = ()
    ups: tuple[ScaleEvent, ...] = ()
    downs: tuple[ScaleEvent, ...] = ()

    def begun(self, replicas: int, now: dt.datetime) -> History:
        """With the first recommendation, if there is none yet."""
        return self if self.recommendations else replace(self, recommendations=(Recommendation(now, replicas),))

    def scaled(
        self, behavior: HorizontalPodAutoscalerBehavior | None, before: int, after: int, now: dt.datetime
    ) -> History:
        """With a change that was carried out; those older than the longest period are forgotten."""
        if behavior is None:
            return self
        if after > before:
            return replace(self, ups=_kept(self.ups, behavior.scale_up, ScaleEvent(now, after - before)))
        return replace(self, downs=_kept(self.downs, behavior.scale_down, ScaleEvent(now, before - after)))


def _kept(events: tuple[ScaleEvent, ...], rules: HPAScalingRules | None, new: ScaleEvent) -> tuple[ScaleEvent, ...]:
    longest = max((policy.period_seconds for policy in rules.policies or ()), default=0) if rules else 0
    return (*(event for event in events if event.at >= new.at - dt.timedelta(seconds=longest)), new)


class Said(NamedTuple):
    """A condition's status, reason and message."""

    status: str
    reason: str
    message: str


@dataclass(frozen=True, slots=True)
class Normal:
    """The size to be, what AbleToScale and ScalingLimited say about it, and what is remembered."""

    replicas: int
    able: Said
    limited: Said
    history: History = field(default_factory=History)


@dataclass(frozen=True, slots=True)
class Bounds:
    least: int
    most: int


def normalise(
    history: History,
    behavior: HorizontalPodAutoscalerBehavior | None,
    current: int,
    desired: int,
    bounds: Bounds,
    now: dt.datetime,
) -> Normal:
    """The size that `desired` may lead to now, from `current`."""
    up, down = _windows(behavior)
    rising = desired >= current if behavior is not None else False
    window = dt.timedelta(seconds=up if rising else down)
    recent = [entry.replicas for entry in history.recommendations if entry.at > now - window]
    stable = min([*recent, desired]) if rising else max([*recent, desired])
    if stable == desired:
        able = Said("True", "ReadyForNewScale", "recommended size matches current size")
    elif rising:
        able = Said(
            "True",
            "ScaleUpStabilized",
            "recent recommendations were lower than current one, applying the lowest recent recommendation",
        )
    else:
        able = Said(
            "True",
            "ScaleDownStabilized",
            "recent recommendations were higher than current one, applying the highest recent recommendation",
        )
    oldest = now - dt.timedelta(seconds=max(up, down))
    kept = [entry for entry in history.recommendations if entry.at >= oldest][-_MOST_REMEMBERED:]
    remembered = replace(history, recommendations=(*kept, Recommendation(now, desired)))
    size, limited = _limit(remembered, behavior, current, stable, bounds, now)
    return Normal(size, able, limited, remembered)


def _windows(behavior: HorizontalPodAutoscalerBehavior | None) -> tuple[int, int]:
    """Seconds before a higher and a lower recommendation count."""
    up, down = 0, DOWN_WINDOW_SECONDS
    if behavior is not None:
        for rules, which in ((behavior.scale_up, "up"), (behavior.scale_down, "down")):
            asked = rules.stabilization_window_seconds if rules is not None else None
            if asked is not None and which == "up":
                up = asked
            elif asked is not None:
                down = asked
    return up, down


_WITHIN = Said("False", "DesiredWithinRange", "the desired count is within the acceptable range")
_MANY = Said("True", "TooManyReplicas", "the desired replica count is more than the maximum replica count")
_FEW = Said("True", "TooFewReplicas", "the desired replica count is less than the minimum replica count")
_FAST_UP = Said("True", "ScaleUpLimit", "the desired replica count is increasing faster than the maximum scale rate")
_FAST_DOWN = Said(
    "True", "ScaleDownLimit", "the desired replica count is decreasing faster than the maximum scale rate"
)


def _limit(
    history: History,
    behavior: HorizontalPodAutoscalerBehavior | None,
    current: int,
    desired: int,
    bounds: Bounds,
    now: dt.datetime,
) -> tuple[int, Said]:
    if desired > current:
        if behavior is None:
            rate = max(_PLAIN_FACTOR * current, _PLAIN_LEAST)
        else:
            rate = max(current, _most_up(current, history, behavior.scale_up, now))
        most, why = (rate, _FAST_UP) if bounds.most > rate else (bounds.most, _MANY)
        if desired > most:
            return most, why
    elif desired < current and behavior is not None:
        rate = min(current, _least_down(current, history, behavior.scale_down, now))
        least, why = (rate, _FAST_DOWN) if bounds.least < rate else (bounds.least, _FEW)
        if desired < least:
            return least, why
    if desired > bounds.most:
        return bounds.most, _MANY
    if desired < bounds.least:
        return bounds.least, _FEW
    return desired, _WITHIN


def _changed(events: tuple[ScaleEvent, ...], policy: HPAScalingPolicy, now: dt.datetime) -> int:
    """By how much the size changed within the policy's period."""
    since = now - dt.timedelta(seconds=policy.period_seconds)
    return sum(event.change for event in events if event.at > since)


def _most_up(current: int, history: History, rules: HPAScalingRules | None, now: dt.datetime) -> int:
    if rules is None or rules.select_policy == "Disabled":
        return current
    proposals = []
    for policy in rules.policies or ():
        base = current - _changed(history.ups, policy, now)
        if policy.type == "Pods":
            proposals.append(base + policy.value)
        else:
            # Rounded up: a small share of few replicas must not stop scaling for good.
            proposals.append(math.ceil(Fraction(base) * (100 + policy.value) / 100))
    chosen = min if rules.select_policy == "Min" else max
    return chosen(proposals, default=current)


def _least_down(current: int, history: History, rules: HPAScalingRules | None, now: dt.datetime) -> int:
    if rules is None or rules.select_policy == "Disabled":
        return current
    proposals = []
    for policy in rules.policies or ():
        base = current + _changed(history.downs, policy, now)
        if policy.type == "Pods":
            proposals.append(base - policy.value)
        else:
            proposals.append(max(0, math.floor(Fraction(base) * (100 - policy.value) / 100)))
    chosen = max if rules.select_policy == "Min" else min
    return chosen(proposals, default=current)
