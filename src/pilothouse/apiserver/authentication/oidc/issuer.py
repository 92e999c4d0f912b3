"""The keys of one issuer, fetched from where it publishes them.

They are kept when the issuer cannot be reached: its tokens go on being good, as long as they last. They are fetched
anew each hour, and when a token names a key that is not known, but then once in ten seconds at most: whoever sends
forged tokens must not make this server hammer the issuer.
"""

from __future__ import annotations

import asyncio
import logging
import ssl
import time
from collections.abc import Callable
from typing import Any, Final
from urllib.parse import urlsplit

import orjson

from pilothouse.apiserver.authentication.jose import BadToken
from pilothouse.apiserver.authentication.oidc.config import IssuerSettings
from pilothouse.apiserver.authentication.oidc.keys import PublicKey, read_keys

_WELL_KNOWN: Final = "/.well-known/openid-configuration"
_LARGEST: Final = 1 << 20
_FETCH_SECONDS: Final = 10.0
_AGAIN_SECONDS: Final = 10.0
_KEPT_SECONDS: Final = 3600.0
log = logging.getLogger(__name__)


class Unavailable(Exception):
    """The issuer's keys cannot be had; says why."""


class Issuer:
    """Fetches over TLS, trusting the given authority or the system's."""

    def __init__(self, settings: IssuerSettings, now: Callable[[], float] = time.monotonic) -> None:
        self.settings = settings
        self._now = now
        self._keys: tuple[PublicKey, ...] = ()
        self._fetched = self._tried = float("-inf")
        self._fetching: asyncio.Task[None] | None = None
        self.version = 0
        """Rises when other keys are published than before."""

    async def keys(self, key_id: str) -> tuple[PublicKey, ...]:
        """The issuer's keys, fetched if `key_id` is none of them or if they are old. Raises BadToken without any."""
        now = self._now()
        known = bool(self._keys) and (not key_id or any(key.id in ("", key_id) for key in self._keys))
        if not known or now - self._fetched > _KEPT_SECONDS:
            fetching = self._fetch_once(now)
            if fetching is not None and not known:
                await asyncio.shield(fetching)
        if not self._keys:
            raise BadToken(f"the keys of {self.settings.url} are not known: see above")
        return self._keys

    async def close(self) -> None:
        if self._fetching is not None:
            self._fetching.cancel()
            await asyncio.gather(self._fetching, return_exceptions=True)

    def _fetch_once(self, now: float) -> asyncio.Task[None] | None:
        """The fetch that goes on, a new one, or None when one ended just now."""
        if self._fetching is not None and not self._fetching.done():
            return self._fetching
        if now - self._tried < _AGAIN_SECONDS:
            return None
        self._tried = now
        self._fetching = asyncio.get_running_loop().create_task(self._fetch())
        return self._fetching

    async def _fetch(self) -> None:
        try:
            async with asyncio.timeout(_FETCH_SECONDS):
                keys = await self._published()
        except (Unavailable, TimeoutError) as error:
            why = str(error) or f"no answer within {_FETCH_SECONDS:g} s"
            log.warning("the keys of the issuer %s cannot be had: %s", self.settings.url, why)
            return
        self._fetched = self._now()
        if keys != self._keys:
            self._keys = keys
            self.version += 1

    async def _published(self) -> tuple[PublicKey, ...]:
        import aiohttp

        trusted = ssl.create_default_context(cadata=self.settings.certificate_authority or None)
        async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(ssl=trusted)) as session:
            document = await _read(session, self.settings.discovery_url or self.settings.url.rstrip("/") + _WELL_KNOWN)
            if document.get("issuer") != self.settings.url:
                raise Unavailable(f"its discovery document is of another issuer, {document.get('issuer')!r}")
            where = document.get("jwks_uri")
            if not isinstance(where, str) or urlsplit(where).scheme != "https":
                raise Unavailable(f"its jwks_uri is {where!r}, not an https URL")
            keys = read_keys(await _read(session, where))
        if not keys:
            raise Unavailable(f"{where} holds no key that can be used")
        return keys


async def _read(session: Any, url: str) -> dict[str, Any]:
    import aiohttp

    try:
        async with session.get(url, allow_redirects=False) as reply:
            if reply.status != 200:
                raise Unavailable(f"{url} answers {reply.status}")
            body = bytearray()
            async for piece in reply.content.iter_any():
                body += piece
                if len(body) > _LARGEST:
                    raise Unavailable(f"{url}: more than {_LARGEST} bytes")
        tree = orjson.loads(body)
    except (aiohttp.ClientError, OSError, ValueError) as error:
        raise Unavailable(f"{url}: {error or type(error).__name__}") from error
    if not isinstance(tree, dict):
        raise Unavailable(f"{url} is no JSON object")
    return tree
