"""Whether the scheduler and the controllers run: ours by their tasks, those in their place by their leases."""

from __future__ import annotations

import asyncio
import datetime as dt
from collections.abc import Iterable, Mapping
from functools import partial

from pilothouse.apiserver.chain import ObjectReader
from pilothouse.apiserver.component_statuses import Probe
from pilothouse.kinds.coordination.lease import Lease
from pilothouse.launch.replaced import CONTROLLERS, IDENTITIES, SCHEDULER
from pilothouse.machinery.objects import parse_timestamp

_NAMES = {SCHEDULER: "scheduler", CONTROLLERS: "controller-manager"}
"""As upstream's ComponentStatuses call them."""


class Parts:
    """`started` is told of a part's task; `without` are those that somebody else runs."""

    def __init__(self, without: Iterable[str], objects: ObjectReader) -> None:
        self._without = frozenset(without)
        self._objects = objects
        self._tasks: dict[str, asyncio.Task[None]] = {}

    def started(self, part: str, task: asyncio.Task[None]) -> None:
        self._tasks[part] = task

    def probes(self) -> Mapping[str, Probe]:
        return {name: partial(self._problem, part) for part, name in _NAMES.items()}

    def _problem(self, part: str) -> str:
        if part in self._without:
            return self._of_lease(IDENTITIES[part])
        task = self._tasks.get(part)
        if task is None:
            return "it has not started"
        return "it has ended" if task.done() else ""

    def _of_lease(self, name: str) -> str:
        lease = self._objects.get(Lease.resource, "kube-system", name)
        spec = (lease or {}).get("spec") or {}
        renewed = spec.get("renewTime")
        if not renewed:
            return f"it is left out, and nothing holds the lease kube-system/{name} in its place"
        end = parse_timestamp(renewed) + dt.timedelta(seconds=spec.get("leaseDurationSeconds") or 0)
        return f"its lease was last renewed at {renewed}" if end < dt.datetime.now(dt.UTC) else ""
