"""The server's way to HTTPS servers it is told of: webhooks and aggregated APIs, in the cluster or outside."""

from __future__ import annotations

import asyncio
import base64
import binascii
import ssl
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from pilothouse.apiserver.chain import ObjectReader
from pilothouse.apiserver.endpoints import Unreachable, ready_endpoint
from pilothouse.kinds.core.service import Service
from pilothouse.machinery.errors import ServiceUnavailable
from pilothouse.machinery.objects import Obj

if TYPE_CHECKING:
    import aiohttp

CONNECT_SECONDS = 5.0
_CONTEXTS = 64
LONGEST_ANSWER = 16 << 20
"""Bytes of a webhook's answer."""


class Target(NamedTuple):
    """A server: where it is, the name its certificate must have, and who vouches for that (PEM, "" for the system's
    authorities). `url` ends without a slash."""

    url: str
    server_name: str
    authorities: str = ""
    verified: bool = True


class ServiceLink:
    """Finds and calls servers. A Service is reached at one of its ready endpoints. `certificate` is a file with the
    front proxy's certificate and key, for servers that believe this one who their users are."""

    def __init__(self, objects: ObjectReader, certificate: Path | None = None) -> None:
        self._objects = objects
        self._certificate = certificate
        self._as_proxy: dict[tuple[str, bool], ssl.SSLContext] = {}
        self._session: aiohttp.ClientSession | None = None

    def target(self, config: Obj) -> Target:
        """The server of a webhook's `clientConfig`. Raises ServiceUnavailable, naming what is missing."""
        authorities = _pem(config.get("caBundle") or "")
        if config.get("url"):
            return Target(config["url"].rstrip("/"), "", authorities)
        service = config.get("service") or {}
        namespace, name = service.get("namespace") or "", service.get("name") or ""
        path = (service.get("path") or "").rstrip("/")
        host, port = self._endpoint(namespace, name, service.get("port") or 443)
        return Target(f"https://{host}:{port}{path}", f"{name}.{namespace}.svc", authorities)

    def _endpoint(self, namespace: str, name: str, port: int) -> tuple[str, int]:
        service = self._objects.get(Service.resource, namespace, name)
        if service is None:
            raise ServiceUnavailable(f'service "{name}" not found in namespace "{namespace}"')
        try:
            return ready_endpoint(service, port, self._objects)
        except Unreachable as error:
            raise ServiceUnavailable(str(error)) from error

    async def post(self, target: Target, body: bytes, seconds: float) -> bytes:
        """The body of the answer to a JSON POST. Raises ServiceUnavailable (out of reach, another status, too late)."""
        import aiohttp

        try:
            async with (
                asyncio.timeout(seconds),
                self.open().post(
                    target.url,
                    data=body,
                    headers={
                        "content-type": "application/json",
                        "accept": "application/json",
                        "accept-encoding": "identity",
                        **({"host": target.server_name} if target.server_name else {}),
                    },
                    ssl=context(target.authorities, target.verified),
                    server_hostname=target.server_name or None,
                    allow_redirects=False,
                ) as reply,
            ):
                content = await reply.content.read(LONGEST_ANSWER)
                if not reply.content.at_eof():
                    raise ServiceUnavailable(f"{target.url}: the answer is longer than {LONGEST_ANSWER} bytes")
        except (aiohttp.ClientError, OSError, ValueError) as error:
            raise ServiceUnavailable(f"{target.url}: {error or type(error).__name__}") from error
        if reply.status != 200:
            raise ServiceUnavailable(f"{target.url}: the server answered {reply.status}")
        return content

    def as_proxy(self, target: Target) -> ssl.SSLContext:
        """TLS in which this server shows its front proxy's certificate."""
        place = (target.authorities, target.verified)
        found = self._as_proxy.get(place)
        if found is None:
            if len(self._as_proxy) >= _CONTEXTS:
                self._as_proxy.clear()
            found = self._as_proxy[place] = _context(*place)
            if self._certificate is not None:
                found.load_cert_chain(self._certificate)
        return found

    def renew(self) -> None:
        """Reads the certificate anew from its file."""
        self._as_proxy.clear()

    def open(self) -> aiohttp.ClientSession:
        """The session all calls share, with its connections."""
        import aiohttp

        if self._session is None or self._session.closed:
            timeout = aiohttp.ClientTimeout(total=None, sock_connect=CONNECT_SECONDS)
            self._session = aiohttp.ClientSession(
                connector=aiohttp.TCPConnector(limit=0), timeout=timeout, auto_decompress=False
            )
        return self._session

    async def close(self) -> None:
        if self._session is not None:
            await self._session.close()


@lru_cache(maxsize=_CONTEXTS)
def context(authorities: str, verified: bool) -> ssl.SSLContext:
    """TLS that trusts these authorities only. Raises ServiceUnavailable when they are not PEM."""
    return _context(authorities, verified)


def _context(authorities: str, verified: bool) -> ssl.SSLContext:
    try:
        found = ssl.create_default_context(cadata=authorities or None)
    except (ssl.SSLError, ValueError) as error:
        raise ServiceUnavailable(f"the caBundle is not a PEM certificate: {error}") from error
    if not verified:
        found.check_hostname = False
        found.verify_mode = ssl.CERT_NONE
    return found


def _pem(encoded: str) -> str:
    try:
        return base64.b64decode(encoded).decode("ascii")
    except (binascii.Error, UnicodeDecodeError) as error:
        raise ServiceUnavailable(f"the caBundle is not base64 of a PEM certificate: {error}") from error
