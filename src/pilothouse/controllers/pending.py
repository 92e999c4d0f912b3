"""Pods made or deleted that the informer has not shown yet, so that a stale copy does not make them twice."""

from __future__ import annotations

import time
from collections.abc import Callable

PATIENCE_SECONDS = 300.0
"""After this long a note is given up: the watch has surely shown later changes."""


class Pending:
    """Notes by owner: pod keys awaited as present, and pod keys awaited as gone or going."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._created: dict[str, dict[str, float]] = {}
        self._deleted: dict[str, dict[str, float]] = {}

    def creating(self, owner: str, pod: str) -> None:
        """To be called before the request is sent: the informer may be faster than its answer."""
        self._created.setdefault(owner, {})[pod] = self._clock()

    def deleting(self, owner: str, pod: str) -> None:
        self._deleted.setdefault(owner, {})[pod] = self._clock()

    def seen(self, owner: str, pod: str) -> None:
        """The pod has appeared, or its creation failed."""
        self._drop(self._created, owner, pod)

    def gone(self, owner: str, pod: str) -> None:
        """The pod is gone or marked for deletion, or its deletion failed."""
        self._drop(self._created, owner, pod)
        self._drop(self._deleted, owner, pod)

    def forget(self, owner: str) -> None:
        self._created.pop(owner, None)
        self._deleted.pop(owner, None)

    def outstanding(self, owner: str) -> bool:
        oldest = self._clock() - PATIENCE_SECONDS
        found = False
        for notes in (self._created, self._deleted):
            mine = notes.get(owner)
            if mine is None:
                continue
            for pod in [pod for pod, at in mine.items() if at < oldest]:
                del mine[pod]
            found = found or bool(mine)
        return found

    @staticmethod
    def _drop(notes: dict[str, dict[str, float]], owner: str, pod: str) -> None:
        mine = notes.get(owner)
        if mine is not None:
            mine.pop(pod, None)
            if not mine:
                del notes[owner]
