"""What `/metrics` tells of flow control, under upstream's names."""

from __future__ import annotations

from bisect import bisect_left
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator

from pilothouse.apiserver.flow_control.classify import Schema
from pilothouse.apiserver.flow_control.seats import LevelSeats, Seats

_BUCKETS = (0.0, 0.005, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0, 15.0, 30.0)
_PREFIX = "apiserver_flowcontrol_"
_GAUGES: tuple[tuple[str, str, Callable[[LevelSeats], int]], ...] = (
    ("current_inqueue_requests", "Requests that wait.", lambda level: len(level.queues or ())),
    ("current_executing_seats", "Seats taken.", lambda level: level.used),
    ("nominal_limit_seats", "Seats of its own.", lambda level: level.limits.nominal),
    ("lower_limit_seats", "Seats that it does not lend.", lambda level: level.limits.lower),
    ("upper_limit_seats", "The most seats it may take.", lambda level: level.limits.upper),
)


class FlowMeasures:
    """Counters by FlowSchema, and what the levels hold at the moment."""

    def __init__(self, seats: Seats) -> None:
        self._seats = seats
        self._dispatched: dict[tuple[str, str], list[int]] = {}
        self._rejected: Counter[tuple[str, str, str]] = Counter()
        self._waited: dict[tuple[str, str, str], list[int]] = {}
        self._waited_sum: defaultdict[tuple[str, str, str], float] = defaultdict(float)

    def dispatched(self, schema: Schema) -> list[int]:
        """The one number to increase when a request of the schema runs."""
        return self._dispatched.setdefault((schema.name, schema.level), [0])

    def rejected(self, schema: Schema, reason: str) -> None:
        """A request was turned away."""
        self._rejected[schema.name, schema.level, reason] += 1

    def waited(self, schema: Schema, seconds: float, *, executed: bool) -> None:
        """A request waited for so long."""
        key = (schema.name, schema.level, "true" if executed else "false")
        counts = self._waited.setdefault(key, [0] * (len(_BUCKETS) + 1))
        counts[bisect_left(_BUCKETS, seconds)] += 1
        self._waited_sum[key] += seconds

    def lines(self) -> Iterator[str]:
        """The Prometheus text format."""
        yield from _head("dispatched_requests_total", "counter", "Requests that were let run.")
        for (schema, level), (count,) in sorted(self._dispatched.items()):
            yield f"{_PREFIX}dispatched_requests_total{{{_of(schema, level)}}} {count}"
        yield from _head("rejected_requests_total", "counter", "Requests that were turned away.")
        for (schema, level, reason), count in sorted(self._rejected.items()):
            yield f'{_PREFIX}rejected_requests_total{{{_of(schema, level)},reason="{reason}"}} {count}'
        yield from self._waits()
        levels = sorted(self._seats.levels.items())
        for name, text, number in _GAUGES:
            yield from _head(name, "gauge", text)
            for level, entry in levels:
                yield f'{_PREFIX}{name}{{priority_level="{level}"}} {number(entry)}'

    def _waits(self) -> Iterator[str]:
        name = "request_wait_duration_seconds"
        yield from _head(name, "histogram", "How long requests waited that did not run at once.")
        for key, counts in sorted(self._waited.items()):
            schema, level, execute = key
            labels = f'{_of(schema, level)},execute="{execute}"'
            total = 0
            for bound, count in zip((*map(str, _BUCKETS), "+Inf"), counts):
                total += count
                yield f'{_PREFIX}{name}_bucket{{{labels},le="{bound}"}} {total}'
            yield f"{_PREFIX}{name}_sum{{{labels}}} {self._waited_sum[key]:.6f}"
            yield f"{_PREFIX}{name}_count{{{labels}}} {total}"


def _of(schema: str, level: str) -> str:
    return f'flow_schema="{schema}",priority_level="{level}"'


def _head(name: str, kind: str, text: str) -> Iterator[str]:
    yield f"# HELP {_PREFIX}{name} {text}"
    yield f"# TYPE {_PREFIX}{name} {kind}"
