"""How many replicas one measured resource asks for. Pure.

Source of the rules: upstream's replica calculator. Where upstream rounds the utilisation down to a whole percentage
before it compares, the exact ratio is used here: the answer then does not depend on how many replicas there are, and a
constant load never moves the size to and fro.
"""

from __future__ import annotations

import datetime as dt
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from typing import NamedTuple

from pilothouse.controllers.conditions import find
from pilothouse.kinds.core.pod import Container, Pod
from pilothouse.machinery.objects import parse_timestamp
from pilothouse.machinery.quantity import parse_quantity

CPU_INITIALISATION = dt.timedelta(minutes=5)
"""How long after its start a pod's CPU use counts only while it is ready, and measured since it is."""
RatioOf = Callable[[Mapping[str, int]], Fraction]
INITIAL_READINESS = dt.timedelta(seconds=30)
"""A pod that last changed its readiness within this time after its start was never ready."""


class Unmeasured(Exception):
    """No size can be computed; the message says why, in upstream's words."""


class Sample(NamedTuple):
    """What one pod used, in thousandths, measured over `window` until `at`."""

    value: int
    at: dt.datetime
    window: dt.timedelta


class Tolerance(NamedTuple):
    """How far the ratio of use to target may be below and above 1 before anything is done."""

    down: Fraction = Fraction(1, 10)
    up: Fraction = Fraction(1, 10)

    def holds(self, ratio: Fraction) -> bool:
        return 1 - self.down <= ratio <= 1 + self.up


@dataclass(frozen=True, slots=True)
class Proposal:
    """A size, and the use it follows from: thousandths for each pod, and a percentage of the request if asked for."""

    replicas: int
    average: int
    utilisation: int | None = None


@dataclass(frozen=True, slots=True)
class Groups:
    """Pods by how they count; those being deleted and failed ones are in none."""

    ready: int = 0
    ignored: set[str] = field(default_factory=set)
    missing: set[str] = field(default_factory=set)


@dataclass(frozen=True, slots=True)
class Readings:
    """What a proposal is made from: the target's pods and size, and what its pods used of one resource."""

    pods: Sequence[Pod]
    samples: Mapping[str, Sample]
    resource: str
    current: int
    tolerance: Tolerance
    now: dt.datetime


def group(readings: Readings) -> Groups:
    """Which pods are measured, which are not ready to be, and which should be and are not. Raises Unmeasured."""
    if not readings.pods:
        raise Unmeasured("no pods returned by selector while calculating replica count")
    ready, ignored, missing = 0, set(), set()
    for pod in readings.pods:
        if pod.metadata.deletion_timestamp is not None or pod.status.phase == "Failed":
            continue
        if (pod.status.phase or "Pending") == "Pending":
            ignored.add(pod.name)
        elif (sample := readings.samples.get(pod.name)) is None:
            missing.add(pod.name)
        elif readings.resource == "cpu" and _starting(pod, sample, readings.now):
            ignored.add(pod.name)
        else:
            ready += 1
    return Groups(ready, ignored, missing)


def _starting(pod: Pod, sample: Sample, now: dt.datetime) -> bool:
    """Whether what the pod uses is still that of its start."""
    condition = find(pod.status.conditions, "Ready")
    if condition is None or not pod.status.start_time:
        return True
    started = parse_timestamp(pod.status.start_time)
    changed = parse_timestamp(condition.last_transition_time) if condition.last_transition_time else started
    if started + CPU_INITIALISATION > now:
        return condition.status != "True" or sample.at < changed + sample.window
    return condition.status != "True" and started + INITIAL_READINESS > changed


def by_utilisation(readings: Readings, target: int, container: str = "") -> Proposal:
    """The size at which pods use `target` percent of what they request. Raises Unmeasured."""
    groups = group(readings)
    wanted = {pod.name: requested(pod, readings.resource, container) for pod in readings.pods}
    used = {name: value for name, value in _counted(readings, groups).items() if name in wanted}
    requests = sum(wanted[name] for name in used)
    if not requests:
        raise Unmeasured("no metrics returned matched known pods")
    total = sum(used.values())

    def ratio(uses: Mapping[str, int]) -> Fraction:
        return Fraction(100 * sum(uses.values()), sum(wanted.get(name, 0) for name in uses) * target)

    # A pod that is not measured counts for a scale-down as using all it requests, or its target if that is more.
    full = {name: request * max(100, target) // 100 for name, request in wanted.items()}
    return Proposal(_size(readings, used, groups, full, ratio), total // len(used), total * 100 // requests)


def by_average(readings: Readings, target: int) -> Proposal:
    """The size at which each pod uses `target` thousandths. Raises Unmeasured."""
    groups = group(readings)
    used = _counted(readings, groups)
    full = {pod.name: target for pod in readings.pods}

    def ratio(uses: Mapping[str, int]) -> Fraction:
        return Fraction(sum(uses.values()), len(uses) * target)

    return Proposal(_size(readings, used, groups, full, ratio), sum(used.values()) // len(used))


def _counted(readings: Readings, groups: Groups) -> dict[str, int]:
    used = {name: sample.value for name, sample in readings.samples.items() if name not in groups.ignored}
    if not used:
        raise Unmeasured("did not receive metrics for any ready pods")
    return used


def _size(readings: Readings, used: dict[str, int], groups: Groups, full: Mapping[str, int], ratio_of: RatioOf) -> int:
    """The size that `used` asks for. Pods that are not measured count so that they damp the change, never drive it."""
    current, tolerance = readings.current, readings.tolerance
    ratio = ratio_of(used)
    rebalance = bool(groups.ignored) and ratio > 1
    if not rebalance and not groups.missing:
        return current if tolerance.holds(ratio) else math.ceil(ratio * groups.ready)
    uses = dict(used)
    if ratio < 1:
        uses.update({name: full.get(name, 0) for name in groups.missing})
    elif ratio > 1:
        uses.update(dict.fromkeys(groups.missing, 0))
    if rebalance:
        uses.update(dict.fromkeys(groups.ignored, 0))
    damped = ratio_of(uses)
    if tolerance.holds(damped) or (ratio < 1 < damped) or (damped < 1 < ratio):
        return current
    size = math.ceil(damped * len(uses))
    if (damped < 1 and size > current) or (damped > 1 and size < current):
        return current
    return size


def requested(pod: Pod, resource: str, container: str = "") -> int:
    """What the pod requests, in thousandths; of one container if it is named. Raises Unmeasured."""
    if not container and pod.spec.resources is not None and resource in pod.spec.resources.requests:
        return _thousandths(str(pod.spec.resources.requests[resource]))
    total = 0
    for entry in _lasting(pod):
        if container and entry.name != container:
            continue
        amount = entry.resources.requests.get(resource) if entry.resources is not None else None
        if amount is None:
            raise Unmeasured(f"missing request for {resource} in container {entry.name} of Pod {pod.name}")
        total += _thousandths(str(amount))
    return total


def _lasting(pod: Pod) -> list[Container]:
    """Containers that run as long as the pod: its own, and its sidecars."""
    return [*pod.spec.containers, *(c for c in pod.spec.init_containers if c.restart_policy == "Always")]


def _thousandths(text: str) -> int:
    return math.ceil(parse_quantity(text) * 1000)
