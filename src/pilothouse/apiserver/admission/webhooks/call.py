"""Posts an AdmissionReview over HTTPS."""

from __future__ import annotations

import asyncio
import math
from typing import TYPE_CHECKING

from pilothouse.apiserver.admission.webhooks.address import address_of, tls_context
from pilothouse.apiserver.admission.webhooks.hooks import Hook
from pilothouse.apiserver.chain import ObjectReader
from pilothouse.apiserver.endpoints import Unreachable

if TYPE_CHECKING:
    import aiohttp

_LONGEST = 3 * 1024 * 1024 + 512 * 1024
"""An object of the largest size there is, in an answer; and a patch that doubles it has no business here."""
_CONNECTIONS = 64


class CallFailed(Exception):
    """The webhook gave no answer."""


class WebhookClient:
    """Connections to webhooks, kept open between calls."""

    def __init__(self, objects: ObjectReader) -> None:
        self._objects = objects
        self._session: aiohttp.ClientSession | None = None

    async def post(self, hook: Hook, body: bytes) -> bytes:
        """The answer's body. Raises CallFailed."""
        import aiohttp

        client = hook.webhook.get("clientConfig") or {}
        try:
            address = address_of(client, self._objects)
            context = tls_context(client.get("caBundle") or "")
        except Unreachable as error:
            raise CallFailed(f"failed to call webhook: {error}") from None
        shown = f'Post "{address.shown}?timeout={math.ceil(hook.seconds)}s"'
        headers = {
            "content-type": "application/json",
            "accept": "application/json",
            "user-agent": "pilothouse-admission",
        }
        if address.name:
            headers["host"] = address.shown.split("/")[2]
        try:
            async with (
                asyncio.timeout(hook.seconds),
                self._open().post(
                    address.url,
                    params={"timeout": f"{math.ceil(hook.seconds)}s"},
                    data=body,
                    headers=headers,
                    ssl=context,
                    server_hostname=address.name or None,
                    allow_redirects=False,
                ) as response,
            ):
                data = await _read(response)
                if response.status // 100 != 2:
                    text = data[:200].decode(errors="replace").strip()
                    raise CallFailed(f"failed to call webhook: the server answered {response.status}: {text}")
                return data
        except TimeoutError:
            raise CallFailed(f"failed to call webhook: {shown}: context deadline exceeded") from None
        except (aiohttp.ClientError, OSError, ValueError) as error:
            raise CallFailed(f"failed to call webhook: {shown}: {error}") from None

    def _open(self) -> aiohttp.ClientSession:
        import aiohttp

        if self._session is None or self._session.closed:
            connector = aiohttp.TCPConnector(limit=_CONNECTIONS)
            self._session = aiohttp.ClientSession(connector=connector, timeout=aiohttp.ClientTimeout(total=None))
        return self._session

    async def close(self) -> None:
        """Closes what is open."""
        if self._session is not None:
            await self._session.close()


async def _read(response: aiohttp.ClientResponse) -> bytes:
    pieces: list[bytes] = []
    size = 0
    async for piece in response.content.iter_chunked(65_536):
        size += len(piece)
        if size > _LONGEST:
            raise CallFailed(f"failed to call webhook: the answer is larger than {_LONGEST} bytes")
        pieces.append(piece)
    return b"".join(pieces)
