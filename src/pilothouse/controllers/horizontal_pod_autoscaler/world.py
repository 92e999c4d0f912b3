"""What sizes are computed from, and what comes out."""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from pilothouse.controllers.horizontal_pod_autoscaler.usage import Tolerance
from pilothouse.controllers.scaling import Scale
from pilothouse.kinds.core.pod import Pod
from pilothouse.machinery.objects import Obj

MetricsAnswer = Sequence[Obj] | str
"""What an API of metrics answered: its items, or why there are none."""
RESOURCES = "resources"
"""The question for what the target's pods use of CPU and memory."""


@dataclass(frozen=True, slots=True)
class World:
    """The target's size and pods, and what the APIs of metrics answered."""

    scale: Scale
    pods: Sequence[Pod]
    answers: Mapping[str, MetricsAnswer]
    tolerance: Tolerance
    now: dt.datetime


class Measured(NamedTuple):
    """A size, the metric's name as people read it, and its MetricStatus."""

    replicas: int
    name: str
    status: Obj
