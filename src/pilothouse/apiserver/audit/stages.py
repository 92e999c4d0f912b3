"""Which stages of a request are recorded when: at once, or when what it streams has ended.

Source: Kubernetes documentation, "Auditing": ResponseStarted is told of requests that go on (watch, exec,
port-forward), ResponseComplete of all when nothing more is sent, Panic in its place when the server failed.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from typing import TypeVar

from pilothouse.apiserver.audit.log import AuditLog, Trail
from pilothouse.apiserver.audit.policy import COMPLETE, PANIC, STARTED
from pilothouse.apiserver.route import Route
from pilothouse.apiserver.upgrade import Takeover, Upgrade
from pilothouse.client.wire import Request, Response

T = TypeVar("T")


def audited(log: AuditLog, request: Request, route: Route, trail: Trail, response: Response) -> None:
    """Takes note of an answer; one that goes on is noted again at its end."""
    if trail.panicked:
        log.note(request, route, trail, response, PANIC)
        return
    following = route.verb == "watch" and response.stream is not None
    if not following and not isinstance(response, Upgrade):
        log.note(request, route, trail, response, COMPLETE)
        return
    log.note(request, route, trail, response, STARTED)
    if not log.wants(trail, COMPLETE):
        return

    def done() -> None:
        log.note(request, route, trail, response, COMPLETE)

    if isinstance(response, Takeover):
        if response.carry is not None:
            response.carry = _until_done(response.carry, done)
    elif isinstance(response, Upgrade):
        if response.relay is not None:
            response.relay = _until_done(response.relay, done)
    elif response.stream is not None:
        response.stream = _stream(response.stream, done)


async def _stream(pieces: AsyncIterator[bytes], done: Callable[[], None]) -> AsyncIterator[bytes]:
    try:
        async for piece in pieces:
            yield piece
    finally:
        # The end of the work behind the stream is not left to the collector of garbage.
        close = getattr(pieces, "aclose", None)
        if close is not None:
            await close()
        done()


def _until_done(work: Callable[[T], Awaitable[None]], done: Callable[[], None]) -> Callable[[T], Awaitable[None]]:
    async def audited_work(connection: T) -> None:
        try:
            await work(connection)
        finally:
            done()

    return audited_work
