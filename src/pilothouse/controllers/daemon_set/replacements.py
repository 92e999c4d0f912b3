"""How long ended pods of a node wait for their replacement, so that one that always fails is no hot loop."""

from __future__ import annotations

import time
from collections.abc import Callable

from pilothouse.reconcile.queue import Backoff

_BACKOFF = Backoff(first=1.0, most=900.0)
"""As upstream: one second, doubling to a quarter of an hour."""
_FORGIVEN_SECONDS = 1800.0
"""A node without a failure for this long starts afresh."""


class Replacements:
    """Counts replaced pods for each DaemonSet (by uid) and node."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._counts: dict[str, dict[str, tuple[int, float]]] = {}

    def wait(self, owner: str, node: str) -> float:
        """Seconds until the next ended pod there may be replaced; 0 when at once."""
        count, at = self._counts.get(owner, {}).get(node, (0, 0.0))
        passed = self._clock() - at
        if not count or passed > _FORGIVEN_SECONDS:
            return 0.0
        return max(0.0, _BACKOFF.delay(count) - passed)

    def replaced(self, owner: str, node: str) -> None:
        nodes = self._counts.setdefault(owner, {})
        count, at = nodes.get(node, (0, 0.0))
        now = self._clock()
        nodes[node] = (1 if now - at > _FORGIVEN_SECONDS else count + 1, now)

    def forget(self, owner: str) -> None:
        self._counts.pop(owner, None)
