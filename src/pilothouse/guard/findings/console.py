"""`/console`: the page of findings and their counts by day, for whoever may list some, about what they may list."""

from __future__ import annotations

import asyncio
import datetime as dt
import heapq
from collections import Counter
from collections.abc import Awaitable, Callable, Mapping, Sequence

import msgspec
import orjson

from pilothouse.client.wire import Request, Response, User
from pilothouse.guard.findings.findings import Findings
from pilothouse.guard.findings.model import Row
from pilothouse.guard.findings.ordered import Rows
from pilothouse.guard.findings.page import SHOWN, Content, page, policy
from pilothouse.guard.findings.render import record_of
from pilothouse.guard.findings.risk import risk
from pilothouse.guard.findings.trend import Point, by_day
from pilothouse.kinds.guard.finding import OPEN, Finding
from pilothouse.machinery.errors import Forbidden, MethodNotAllowed

PATH = "/console"
TREND_PATH = "/console/trend"
MayList = Callable[[User, str], Awaitable[bool]]
"""Whether a user may list the findings of a namespace ("" for all)."""
_HEADERS = {
    "cache-control": "no-store",
    "referrer-policy": "no-referrer",
    "x-content-type-options": "nosniff",
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
}


class Console:
    """Answers requests for the page and for its counts."""

    def __init__(self, findings: Findings, may_list: MayList) -> None:
        self._findings = findings
        self._may_list = may_list
        self._decoder = msgspec.json.Decoder(Finding)

    @property
    def pages(self) -> Mapping[str, Callable[[Request, User], Awaitable[Response]]]:
        """What answers, by path."""
        return {PATH: self.show, TREND_PATH: self.tell_trend}

    async def show(self, request: Request, user: User) -> Response:
        """The page. Raises Forbidden for somebody who may list no findings at all."""
        rows = self._findings.state.select()
        points = await self._findings.trend()
        allowed = await self._allowed(request, user, rows, points)
        # A thread: thousands of findings take longer to write than the event loop may stand still.
        text = await asyncio.to_thread(self._page, rows, points, allowed)
        headers = {"content-type": "text/html; charset=utf-8", "content-security-policy": policy()}
        return Response(200, {**_HEADERS, **headers}, text.encode())

    async def tell_trend(self, request: Request, user: User) -> Response:
        """Open findings by day and severity, as JSON; query parameters `namespace` and `owner` narrow it. Raises
        Forbidden."""
        points = await self._findings.trend()
        allowed = await self._allowed(request, user, self._findings.state.select(), points)
        asked = dict(request.query)

        def wanted(point: Point) -> bool:
            return (
                (allowed is None or point.namespace in allowed)
                and asked.get("namespace", point.namespace) == point.namespace
                and asked.get("owner", point.owner) == point.owner
            )

        items = [{"day": day, "open": dict(counts)} for day, counts in by_day(points, wanted)]
        return Response(200, {**_HEADERS, "content-type": "application/json"}, orjson.dumps({"items": items}))

    async def _allowed(
        self, request: Request, user: User, rows: Rows, points: Sequence[Point]
    ) -> frozenset[str] | None:
        """The namespaces a user may see, None for all."""
        if request.method not in ("GET", "HEAD"):
            raise MethodNotAllowed("the server does not allow this method on the requested resource")
        if await self._may_list(user, ""):
            return None
        spaces = {point.namespace for point in points} | await asyncio.to_thread(_namespaces, rows)
        allowed = frozenset({space for space in sorted(spaces - {""}) if await self._may_list(user, space)})
        if not allowed:
            raise Forbidden(f'User "{user.name}" cannot list findings in any namespace that has some')
        return allowed

    def _page(self, rows: Rows, points: Sequence[Point], allowed: frozenset[str] | None) -> str:
        about = "all namespaces" if allowed is None else "namespaces " + ", ".join(sorted(allowed))
        seen = [row for row in rows if allowed is None or row.namespace in allowed]
        owners: dict[str, Counter[str]] = {}
        for row in seen:
            if row.state == OPEN:
                owners.setdefault(row.owner, Counter())[str(row.check.severity)] += 1
        listed = [self._decoder.decode(record_of(row).value) for row in heapq.nsmallest(SHOWN, seen, key=_order)]
        days = by_day(points, lambda point: allowed is None or point.namespace in allowed)
        return page(Content(dt.datetime.now(dt.UTC), about, owners, listed, max(len(seen) - SHOWN, 0), days))


def _order(row: Row) -> tuple[bool, int, str]:
    """The most pressing that is open first."""
    return row.state != OPEN, -risk(row.check.severity, dict(row.evidence)), row.namespace


def _namespaces(rows: Rows) -> set[str]:
    return {row.namespace for row in rows}
