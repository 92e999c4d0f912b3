"""`/console`: the page of findings, for whoever may list them, about what they may list."""

from __future__ import annotations

import asyncio
import datetime as dt
from collections.abc import Awaitable, Callable

import msgspec

from pilothouse.client.wire import Request, Response, User
from pilothouse.guard.findings.model import Row
from pilothouse.guard.findings.page import page, policy
from pilothouse.guard.findings.render import record_of
from pilothouse.guard.findings.state import FindingState
from pilothouse.kinds.guard.finding import Finding
from pilothouse.machinery.errors import Forbidden, MethodNotAllowed

PATH = "/console"
MayList = Callable[[User, str], Awaitable[bool]]
"""Whether a user may list the findings of a namespace ("" for all)."""
_HEADERS = {
    "content-type": "text/html; charset=utf-8",
    "cache-control": "no-store",
    "referrer-policy": "no-referrer",
    "x-content-type-options": "nosniff",
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
}


class Console:
    """Answers requests for the page."""

    def __init__(self, state: FindingState, may_list: MayList) -> None:
        self._state = state
        self._may_list = may_list
        self._decoder = msgspec.json.Decoder(Finding)

    async def __call__(self, request: Request, user: User) -> Response:
        """Raises Forbidden for somebody who may list no findings at all."""
        if request.method not in ("GET", "HEAD"):
            raise MethodNotAllowed("the server does not allow this method on the requested resource")
        rows = list(self._state.rows.values())
        about = "all namespaces"
        if not await self._may_list(user, ""):
            spaces = {row.namespace for row in rows}
            allowed = {space for space in sorted(spaces) if await self._may_list(user, space)}
            if not allowed:
                raise Forbidden(f'User "{user.name}" cannot list findings in any namespace that has some')
            rows = [row for row in rows if row.namespace in allowed]
            about = "namespaces " + ", ".join(sorted(allowed))
        # A thread: thousands of findings take longer to write than the event loop may stand still.
        text = await asyncio.to_thread(self._page, rows, about)
        return Response(200, {**_HEADERS, "content-security-policy": policy()}, text.encode())

    def _page(self, rows: list[Row], about: str) -> str:
        findings = [self._decoder.decode(record_of(row).value) for row in rows]
        return page(findings, dt.datetime.now(dt.UTC), about)
