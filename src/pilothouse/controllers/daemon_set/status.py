"""A DaemonSet's status, as `kubectl rollout status` reads it. Pure."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterable
from typing import Protocol

from pilothouse.controllers.daemon_set.placement import Eligible
from pilothouse.controllers.pods import available_in
from pilothouse.controllers.revisions import HASH
from pilothouse.kinds.apps.daemon_set import DaemonSet
from pilothouse.kinds.core.pod import Pod
from pilothouse.machinery.objects import Obj

_ALWAYS = frozenset(
    {
        "observedGeneration",
        "currentNumberScheduled",
        "numberMisscheduled",
        "desiredNumberScheduled",
        "numberReady",
    }
)
"""Fields that upstream writes even when they are zero."""


class Placed(Protocol):
    """A node as the status counts it."""

    @property
    def eligible(self) -> Eligible: ...

    @property
    def pods(self) -> list[Pod]: ...


def status_of(daemon_set: DaemonSet, nodes: Iterable[Placed], digest: str, now: dt.datetime) -> tuple[Obj, list[float]]:
    """The status patch, empty when nothing changes, and the seconds until pods that are ready become available."""
    desired = current = missed = ready = available = updated = 0
    waits: list[float] = []
    for node in nodes:
        if not node.eligible.run:
            missed += bool(node.pods)
            continue
        desired += 1
        if not node.pods:
            continue
        current += 1
        # The oldest pod stands for the node, so that one surging is not counted before the other is gone.
        pod = node.pods[0]
        updated += pod.metadata.labels.get(HASH) == digest
        wait = available_in(pod, daemon_set.spec.min_ready_seconds, now)
        ready += wait is not None
        available += wait == 0
        waits += [wait] if wait else []
    new: Obj = {
        "observedGeneration": daemon_set.metadata.generation,
        "currentNumberScheduled": current,
        "numberMisscheduled": missed,
        "desiredNumberScheduled": desired,
        "numberReady": ready,
        "updatedNumberScheduled": updated,
        "numberAvailable": available,
        "numberUnavailable": desired - available,
    }
    old = daemon_set.status
    before = {
        "observedGeneration": old.observed_generation,
        "currentNumberScheduled": old.current_number_scheduled,
        "numberMisscheduled": old.number_misscheduled,
        "desiredNumberScheduled": old.desired_number_scheduled,
        "numberReady": old.number_ready,
        "updatedNumberScheduled": old.updated_number_scheduled,
        "numberAvailable": old.number_available,
        "numberUnavailable": old.number_unavailable,
    }
    if new == before:
        return {}, waits
    return {key: value if value or key in _ALWAYS else None for key, value in new.items()}, waits
