"""What `/metrics` tells: requests by verb and code, requests in progress, and how late the event loop runs."""

from __future__ import annotations

import asyncio
from bisect import bisect_left
from collections import Counter
from collections.abc import Callable, Iterator, Sequence

from pilothouse.apiserver.route import Route

SAMPLE_SECONDS = 1.0
_BUCKETS = (0.001, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 10.0)


class Measures:
    """Counters of one server. `serves` says whether it serves a group and plural, each of `more` gives further lines;
    `sample_lag` runs beside it."""

    def __init__(self, serves: Callable[[str, str], bool], more: Sequence[Callable[[], Iterator[str]]] = ()) -> None:
        self._serves = serves
        self._more = more
        self._requests: Counter[tuple[str, str, str, int]] = Counter()
        self._in_progress = 0
        self._lags = [0] * (len(_BUCKETS) + 1)
        self._lag_sum = 0.0

    def begin(self, route: Route) -> None:
        self._in_progress += 1

    def end(self, route: Route, code: int) -> None:
        self._in_progress -= 1
        # What does not exist is not counted apart, so that nobody can fill the memory with names.
        known = route.is_resource and self._serves(route.group, route.resource)
        place = (route.verb, route.group, route.resource) if known else ("", "", "")
        self._requests[*place, code] += 1

    async def sample_lag(self) -> None:
        """Measures how late a timer is, until cancelled."""
        loop = asyncio.get_running_loop()
        while True:
            due = loop.time() + SAMPLE_SECONDS
            await asyncio.sleep(SAMPLE_SECONDS)
            lag = max(loop.time() - due, 0.0)
            self._lags[bisect_left(_BUCKETS, lag)] += 1
            self._lag_sum += lag

    def text(self) -> bytes:
        """The Prometheus text format, version 0.0.4."""
        return "\n".join([*self._lines(), ""]).encode()

    def _lines(self) -> Iterator[str]:
        yield "# HELP apiserver_request_total Requests answered, by verb, group, resource and HTTP code."
        yield "# TYPE apiserver_request_total counter"
        for (verb, group, resource, code), count in sorted(self._requests.items()):
            labels = f'verb="{verb}",group="{group}",resource="{resource}",code="{code}"'
            yield f"apiserver_request_total{{{labels}}} {count}"
        yield "# HELP apiserver_current_inflight_requests Requests being answered."
        yield "# TYPE apiserver_current_inflight_requests gauge"
        yield f"apiserver_current_inflight_requests {self._in_progress}"
        yield "# HELP pilothouse_loop_lag_seconds How late the event loop runs what is due."
        yield "# TYPE pilothouse_loop_lag_seconds histogram"
        total = 0
        for bound, count in zip((*map(str, _BUCKETS), "+Inf"), self._lags):
            total += count
            yield f'pilothouse_loop_lag_seconds_bucket{{le="{bound}"}} {total}'
        yield f"pilothouse_loop_lag_seconds_sum {self._lag_sum:.6f}"
        yield f"pilothouse_loop_lag_seconds_count {total}"
        for lines in self._more:
            yield from lines()
