"""The API over HTTPS, by aiohttp."""

from __future__ import annotations

import asyncio
import socket
import ssl
from collections.abc import AsyncIterator
from typing import Any
from urllib.parse import urlencode

import aiohttp
from yarl import URL

from pilothouse.client.wire import Request, Response
from pilothouse.machinery.errors import ServiceUnavailable

_CHUNK = 64 * 1024


class HttpsTransport:
    """Sends requests to `base_url`; the identity is the client certificate in `ssl_context`, or a bearer token.

    A watch holds a connection of its own, so the pool is not limited. What goes on for as long as it is asked for
    (watches, followed logs) is handed on as it comes; other bodies are read whole.
    """

    def __init__(self, base_url: str, ssl_context: ssl.SSLContext, *, token: str = "", timeout: float = 30.0) -> None:
        self._base_url = base_url.rstrip("/")
        self._ssl = ssl_context
        self._token = token
        self._timeout = timeout
        self._session: aiohttp.ClientSession | None = None

    def renew(self, ssl_context: ssl.SSLContext) -> None:
        """Uses another certificate for connections made from now on."""
        self._ssl = ssl_context

    def _open(self) -> aiohttp.ClientSession:
        if self._session is None or self._session.closed:
            connector = aiohttp.TCPConnector(limit=0, keepalive_timeout=60, socket_factory=_socket)
            timeout = aiohttp.ClientTimeout(total=None, connect=10, sock_read=None)
            self._session = aiohttp.ClientSession(connector=connector, timeout=timeout, auto_decompress=True)
        return self._session

    async def send(self, request: Request) -> Response:
        url = self._base_url + request.path
        if request.query:
            url += "?" + urlencode(request.query)
        headers = dict(request.headers)
        if self._token:
            headers["authorization"] = f"Bearer {self._token}"
        try:
            async with asyncio.timeout(self._timeout):
                reply = await self._open().request(
                    request.method, URL(url, encoded=True), data=request.body or None, headers=headers, ssl=self._ssl
                )
                response = Response(reply.status, {k.lower(): v for k, v in reply.headers.items()})
                if _is_stream(request):
                    response.stream = _pieces(reply)
                else:
                    response.body = await reply.read()
                return response
        except (aiohttp.ClientError, OSError, TimeoutError) as error:
            raise ServiceUnavailable(
                f"cannot reach the API server at {self._base_url}: {error or type(error).__name__}"
            ) from error

    async def close(self) -> None:
        if self._session is not None:
            await self._session.close()


def _socket(address: tuple[Any, ...]) -> socket.socket:
    """A socket that notices within half a minute that the other machine is gone; a silent watch would never."""
    family, kind, protocol = address[:3]
    sock = socket.socket(family, kind, protocol)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    for option, seconds in ((socket.TCP_KEEPIDLE, 15), (socket.TCP_KEEPINTVL, 5), (socket.TCP_KEEPCNT, 3)):
        sock.setsockopt(socket.IPPROTO_TCP, option, seconds)
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, 30_000)
    return sock


def _is_stream(request: Request) -> bool:
    return any(key in ("watch", "follow") and value in ("true", "1") for key, value in request.query)


async def _pieces(reply: aiohttp.ClientResponse) -> AsyncIterator[bytes]:
    try:
        async for chunk in reply.content.iter_any():
            yield chunk
    except aiohttp.ClientError as error:
        raise ServiceUnavailable(f"the connection to the API server broke: {error}") from error
    finally:
        reply.close()
