"""Pods that wait for a node: ready to be tried, backing off, or waiting for a change that could help. No I/O.

The clock is given, and whoever drives the queue asks `next_due` when to look again.
"""

from __future__ import annotations

import heapq
import itertools
from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum

FIRST_BACKOFF_SECONDS = 1.0
MOST_BACKOFF_SECONDS = 10.0
PATIENCE_SECONDS = 300.0
"""After this long an unschedulable pod is tried again without any event, should one have been missed."""


class Change(Enum):
    """What happened in the cluster, as far as it can make room for a waiting pod."""

    NODE_ADDED = "node added"
    NODE_CHANGED = "node changed"
    POD_PLACED = "pod placed"
    POD_GONE = "pod gone"
    STORAGE = "storage"


_ALL = frozenset(Change)
_NODES = frozenset({Change.NODE_ADDED, Change.NODE_CHANGED})
HELPED_BY: dict[str, frozenset[Change]] = {
    "NodeUnschedulable": _NODES,
    "TaintToleration": _NODES,
    "NodeAffinity": _NODES,
    "NodePorts": frozenset({Change.NODE_ADDED, Change.POD_GONE}),
    "NodeResourcesFit": _NODES | {Change.POD_GONE},
    "VolumeBinding": _NODES | {Change.STORAGE},
    "NodeVolumeLimits": _NODES | {Change.STORAGE, Change.POD_GONE},
    "PodTopologySpread": _NODES | {Change.POD_PLACED, Change.POD_GONE},
    "InterPodAffinity": _NODES | {Change.POD_PLACED, Change.POD_GONE},
}
"""Which changes can turn a filter's objection; for a filter not named, all."""


@dataclass(slots=True)
class _Entry:
    key: str
    priority: int
    attempts: int = 0
    filters: frozenset[str] = frozenset()
    parked_at: float = 0.0
    ready_at: float = 0.0


class SchedulingQueue:
    """Keys of pods. Higher priority first, then in order of arrival."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._numbers = itertools.count()
        self._entries: dict[str, _Entry] = {}
        self._active: list[tuple[int, int, str]] = []
        self._in_active: set[str] = set()
        self._backoff: list[tuple[float, int, str]] = []
        self._parked: dict[str, _Entry] = {}
        """In the order in which they were parked, so that those who waited longest come first."""
        self._by_filters: dict[frozenset[str], dict[str, _Entry]] = {}
        """The same by what objected: an event that helps nobody costs no look at each."""

    def __len__(self) -> int:
        return len(self._entries)

    @property
    def parked(self) -> int:
        return len(self._parked)

    def add(self, key: str, priority: int = 0) -> None:
        """A new pod, or one that has changed: tried at once."""
        entry = self._entries.get(key)
        if entry is None:
            entry = self._entries[key] = _Entry(key, priority)
        entry.priority = priority
        self._unpark(key)
        self._activate(entry)

    def remove(self, key: str) -> None:
        """The pod is gone, bound, or no longer to be placed."""
        self._entries.pop(key, None)
        self._unpark(key)
        self._in_active.discard(key)

    def pop(self) -> str | None:
        """The next pod to try, or None."""
        self._release()
        while self._active:
            _, _, key = heapq.heappop(self._active)
            if key in self._in_active and key in self._entries:
                self._in_active.discard(key)
                entry = self._entries[key]
                entry.attempts += 1
                return key
        return None

    def park(self, key: str, filters: frozenset[str]) -> None:
        """The pod could not be placed; it waits for a change that concerns one of `filters` (none: any change)."""
        entry = self._entries.get(key)
        if entry is None or key in self._in_active:
            return
        self._unpark(key)
        entry.filters = filters
        entry.parked_at = self._clock()
        self._parked[key] = entry
        self._by_filters.setdefault(filters, {})[key] = entry

    def _unpark(self, key: str) -> None:
        entry = self._parked.pop(key, None)
        if entry is not None:
            alike = self._by_filters[entry.filters]
            del alike[key]
            if not alike:
                del self._by_filters[entry.filters]

    def failed(self, key: str) -> None:
        """An error, not a decision: tried again after a while."""
        entry = self._entries.get(key)
        if entry is not None and key not in self._in_active:
            entry.parked_at = self._clock()
            self._back_off(entry)

    def happened(self, change: Change) -> None:
        """Takes up again the pods that this change may help."""
        for filters in list(self._by_filters):
            if not filters or any(change in HELPED_BY.get(name, _ALL) for name in filters):
                for entry in list(self._by_filters[filters].values()):
                    self._unpark(entry.key)
                    self._back_off(entry)

    def next_due(self) -> float | None:
        """The moment (by the clock) when `pop` may have something without any event; None: never."""
        due = [self._backoff[0][0]] if self._backoff else []
        due += [entry.parked_at + PATIENCE_SECONDS for entry in itertools.islice(self._parked.values(), 1)]
        return min(due, default=None)

    def _back_off(self, entry: _Entry) -> None:
        """Waits out what is left of the pod's back-off, counted from its last attempt."""
        wait = min(MOST_BACKOFF_SECONDS, FIRST_BACKOFF_SECONDS * 2 ** max(0, min(entry.attempts, 10) - 1))
        now = self._clock()
        entry.ready_at = max(entry.parked_at or now, now - wait) + wait
        if entry.ready_at <= now:
            self._activate(entry)
        else:
            heapq.heappush(self._backoff, (entry.ready_at, next(self._numbers), entry.key))

    def _activate(self, entry: _Entry) -> None:
        if entry.key not in self._in_active:
            self._in_active.add(entry.key)
            heapq.heappush(self._active, (-entry.priority, next(self._numbers), entry.key))

    def _release(self) -> None:
        now = self._clock()
        while self._backoff and self._backoff[0][0] <= now:
            at, _, key = heapq.heappop(self._backoff)
            entry = self._entries.get(key)
            if entry is not None and entry.ready_at == at and key not in self._parked:
                self._activate(entry)
        while self._parked:
            entry = next(iter(self._parked.values()))
            if entry.parked_at + PATIENCE_SECONDS > now:
                break
            self._unpark(entry.key)
            self._activate(entry)
