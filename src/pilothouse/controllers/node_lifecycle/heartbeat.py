"""When each node was last heard of, by a clock that does not count this process's own stalls. No I/O."""

from __future__ import annotations


class Heartbeats:
    """Times are seconds of any monotonic clock. A node starts its full grace when it is first seen."""

    def __init__(self, grace: float, period: float) -> None:
        self._grace = grace
        self._period = period
        self._heard: dict[str, float] = {}
        self._last_tick: float | None = None

    def hear(self, node: str, now: float) -> None:
        self._heard[node] = now

    def first_seen(self, node: str, now: float) -> None:
        self._heard.setdefault(node, now)

    def forget(self, node: str) -> None:
        self._heard.pop(node, None)

    def tick(self, now: float) -> list[str]:
        """The nodes not heard of for longer than the grace. To be called once a period.

        A tick that comes late means that this process stood still, and heartbeats with it may not have been read: every
        node is credited the time lost.
        """
        if self._last_tick is not None:
            stall = now - self._last_tick - self._period
            if stall > self._period / 5:
                self._heard = {node: min(now, at + stall) for node, at in self._heard.items()}
        self._last_tick = now
        return [node for node, at in self._heard.items() if now - at > self._grace]
