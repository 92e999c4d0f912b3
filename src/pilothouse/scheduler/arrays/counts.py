"""Pods that a rule speaks of, counted on each node, and kept in step as pods come and go."""

from __future__ import annotations

from collections.abc import Callable, Iterable

import numpy as np

from pilothouse.scheduler.arrays.columns import Columns, Ints
from pilothouse.scheduler.pod_info import PodInfo
from pilothouse.scheduler.snapshot import NodeInfo

Weigh = Callable[[PodInfo], int]
"""What a placed pod counts for a rule; the same for pods alike in namespace and labels."""


class Counts:
    """A sum for each node of what `weigh` makes of the pods on it; with `living`, without pods being deleted."""

    def __init__(
        self,
        columns: Columns,
        weigh: Weigh,
        placed: Iterable[tuple[NodeInfo, PodInfo]],
        *,
        living: bool = False,
    ) -> None:
        self.of: Ints = np.zeros(columns.size, dtype=np.int64)
        self._weigh = weigh
        self._living = living
        self._known: dict[object, int] = {}
        for info, pod in placed:
            row = columns.row.get(info.name)
            if row is not None:
                self.add(row, pod, 1)

    def add(self, row: int, pod: PodInfo, sign: int) -> None:
        if self._living and pod.pod.metadata.deletion_timestamp is not None:
            return
        weight = self._known.get(pod.identity)
        if weight is None:
            weight = self._known[pod.identity] = self._weigh(pod)
        if weight:
            self.of[row] += sign * weight
