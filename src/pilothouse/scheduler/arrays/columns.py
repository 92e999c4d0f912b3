"""Nodes as columns: what is free, what counts for scores, labels as numbers; and which rows changed when."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from pilothouse.scheduler.snapshot import NodeInfo

Ints = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]
Mask = npt.NDArray[np.bool_]
Rows = npt.NDArray[np.intp]

_JOURNAL = 4096


class Columns:
    """A row for each node, by name. `journal` lists rows that changed, `started` is the number of its first entry."""

    def __init__(self, infos: Sequence[NodeInfo]) -> None:
        self.infos = list(infos)
        self.row = {info.name: index for index, info in enumerate(self.infos)}
        self.journal: list[int] = []
        self.started = 0
        self._topologies: dict[str, Topology] = {}

    @property
    def size(self) -> int:
        return len(self.infos)

    @property
    def now(self) -> int:
        """The number of changes so far."""
        return self.started + len(self.journal)

    def changed(self, row: int) -> None:
        """Notes that pods came to a node or went, or that the node itself is another."""
        self.journal.append(row)
        if len(self.journal) > 2 * _JOURNAL:
            del self.journal[:_JOURNAL]
            self.started += _JOURNAL

    def since(self, number: int) -> set[int] | None:
        """The rows changed after `number` changes; None when that is too long ago to be known."""
        return set(self.journal[number - self.started :]) if number >= self.started else None

    def topology(self, key: str) -> Topology:
        """The values of a label as numbers."""
        found = self._topologies.get(key)
        if found is None:
            found = self._topologies[key] = Topology(key, self.infos)
        return found

    def relabelled(self, row: int) -> None:
        """A node's labels are others now."""
        for topology in self._topologies.values():
            topology.put(row, self.infos[row])


class Topology:
    """One label key: the number of each node's value, -1 for nodes without."""

    def __init__(self, key: str, infos: Sequence[NodeInfo]) -> None:
        self.key = key
        self._numbers: dict[str, int] = {}
        self.codes: Ints = np.full(len(infos), -1, dtype=np.int64)
        for row, info in enumerate(infos):
            self.put(row, info)

    def put(self, row: int, info: NodeInfo) -> None:
        value = info.labels.get(self.key)
        self.codes[row] = -1 if value is None else self._numbers.setdefault(value, len(self._numbers))

    @property
    def domains(self) -> int:
        return len(self._numbers)

    def sums(self, counts: Ints, rows: Mask | None = None) -> Ints:
        """For each domain the sum over its nodes (of those in `rows`)."""
        known = self.codes >= 0 if rows is None else (self.codes >= 0) & rows
        summed = np.bincount(self.codes[known], weights=counts[known], minlength=self.domains)
        return np.rint(summed).astype(np.int64)

    def spread(self, sums: Ints, without: int = 0) -> Ints:
        """For each node the sum of its domain; `without` for nodes that are in none."""
        return np.append(sums, without)[self.codes]
