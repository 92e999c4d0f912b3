"""The API over HTTPS, by aiohttp."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import AsyncIterator
from urllib.parse import urlencode

import aiohttp
from yarl import URL

from pilothouse.client.wire import Request, Response
from pilothouse.machinery.errors import ServiceUnavailable

_CHUNK = 64 * 1024


class HttpsTransport:
    """Sends requests to `base_url`; the identity is the client certificate in `ssl_context`, or a bearer token.

    A watch holds a connection of its own, so the pool is not limited. Bodies that arrive chunked without a length (watches, followed
    logs) are handed on as they come; others are read whole.
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
            connector = aiohttp.TCPConnector(limit=0, keepalive_timeout=60)
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
