"""Requests and responses as the API server and its clients exchange them, free of any HTTP library.

The API server answers a `Request` with a `Response`; HTTPS is one way to carry them, a direct call within
the process the other, and both pass the same authentication, authorisation and admission.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

from pilothouse.machinery.errors import ApiError, from_status


@dataclass(frozen=True, slots=True)
class User:
    """Who asks: `authentication.k8s.io/v1` UserInfo."""

    name: str
    groups: tuple[str, ...] = ()
    uid: str = ""
    extra: Mapping[str, tuple[str, ...]] = field(default_factory=dict)


@dataclass(slots=True)
class Request:
    """One API request. `query` keeps order and repetition; header names are lower case."""

    method: str
    path: str
    query: list[tuple[str, str]] = field(default_factory=list)
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes = b""
    user: User | None = None
    """Set by whoever authenticated the connection (a client certificate, the composition root for components
    of the same process); None means that headers decide."""
    asker: User | None = None
    """Who asked, before any impersonation; noted by the authenticator."""
    remote: str = ""
    """The address the connection comes from, "" within the process."""


@dataclass(slots=True)
class Response:
    """The answer: `body` is whole, or `stream` yields it in pieces; closing the stream ends the work behind it."""

    status: int
    headers: dict[str, str] = field(default_factory=dict)
    body: bytes = b""
    stream: AsyncIterator[bytes] | None = None


Handler = Callable[[Request], Awaitable[Response]]


class Transport(Protocol):
    """Carries requests to an API server."""

    async def send(self, request: Request) -> Response:
        """Raises `ServiceUnavailable` when the server cannot be reached."""

    async def close(self) -> None: ...


class HandlerTransport:
    """Calls a handler in this process as `user`."""

    def __init__(self, handler: Handler, user: User) -> None:
        self._handler = handler
        self._user = user

    async def send(self, request: Request) -> Response:
        request.user = self._user
        # A handler that need not wait (a read, say) never yields; a component making many requests would then keep
        # the event loop from everyone else.
        await asyncio.sleep(0)
        return await self._handler(request)

    async def close(self) -> None:
        return None


def raise_for_status(response: Response, decode: Callable[[bytes], Any]) -> None:
    """Raises the `ApiError` that a response of 400 or more stands for."""
    if response.status < 400:
        return
    try:
        tree = decode(response.body)
    except ValueError:
        tree = {}
    if not isinstance(tree, dict):
        tree = {}
    error: ApiError = from_status(tree, response.status)
    if not tree.get("message") and response.body:
        error.message = response.body[:500].decode("utf-8", "replace")
    raise error
