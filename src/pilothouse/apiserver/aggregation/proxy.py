"""Hands a request on to the server of another API, and its answer back as it comes.

The user was authenticated and authorised here; the other server is told who it is in headers that it believes to the
holder of the front proxy's certificate. Source: Kubernetes documentation, "Configure the aggregation layer".
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import TYPE_CHECKING, Final
from urllib.parse import quote

from pilothouse.apiserver.passed_upgrade import SWITCHING, asked, passed_on
from pilothouse.apiserver.service_link import ServiceLink, Target
from pilothouse.client.wire import Request, Response, User
from pilothouse.kinds.apiregistration.api_service import APIService
from pilothouse.machinery.errors import ServiceUnavailable

if TYPE_CHECKING:
    import aiohttp

_PASSED_ON: Final = frozenset(
    {"accept", "accept-encoding", "content-type", "if-none-match", "if-match", "user-agent", "audit-id"}
)
_OF_STREAMS: Final = ("sec-websocket-", "x-stream-protocol-version")
_PASSED_BACK: Final = frozenset(
    {"cache-control", "content-encoding", "content-type", "etag", "expires", "retry-after", "vary", "warning"}
)


def _is_passed_on(name: str) -> bool:
    return name in _PASSED_ON or name.startswith(_OF_STREAMS)


class Proxy:
    def __init__(self, link: ServiceLink) -> None:
        self._link = link

    def target(self, service: APIService) -> Target:
        """Where the service's server is. Raises ServiceUnavailable."""
        spec = service.spec
        assert spec.service is not None
        reference = {"namespace": spec.service.namespace, "name": spec.service.name, "port": spec.service.port}
        found = self._link.target({"service": reference, "caBundle": spec.ca_bundle})
        return found._replace(verified=not spec.insecure_skip_tls_verify)

    async def forward(self, request: Request, user: User, service: APIService) -> Response:
        """The other server's answer. Raises ServiceUnavailable when it cannot be reached."""
        import aiohttp
        import yarl

        target = self.target(service)
        query = "&".join(f"{quote(key, safe='')}={quote(value, safe='')}" for key, value in request.query)
        url = yarl.URL(
            f"{target.url}{quote(request.path, safe='/%:@!$&()*+,;=~')}" + (f"?{query}" if query else ""), encoded=True
        )
        headers = [(name, value) for name, value in request.headers.items() if _is_passed_on(name)]
        headers += asked(request.headers).items()
        if target.server_name:
            headers.append(("host", target.server_name))
        if "accept-encoding" not in request.headers:
            headers.append(
                ("accept-encoding", "identity")
            )  # else the client library would ask for gzip of its own accord
        try:
            reply = await self._link.open().request(
                request.method,
                url,
                data=request.body or None,
                headers=[*headers, *identity(user)],
                ssl=self._link.as_proxy(target),
                server_hostname=target.server_name or None,
                allow_redirects=False,
            )
        except (aiohttp.ClientError, OSError, TimeoutError, ValueError) as error:
            name = service.name
            raise ServiceUnavailable(
                f"the server of {name} cannot be reached: {error or type(error).__name__}"
            ) from error
        if reply.status == SWITCHING:
            return passed_on(reply)
        kept = {name.lower(): value for name, value in reply.headers.items() if name.lower() in _PASSED_BACK}
        return Response(reply.status, kept, stream=_pieces(reply))


def identity(user: User) -> list[tuple[str, str]]:
    """Who asks, as headers."""
    found = [("X-Remote-User", user.name)]
    found += [("X-Remote-Group", group) for group in user.groups]
    found += [("X-Remote-Uid", user.uid)] if user.uid else []
    for key, values in user.extra.items():
        found += [(f"X-Remote-Extra-{quote(key, safe='')}", value) for value in values]
    return [(name, _printable(value)) for name, value in found]


def _printable(value: str) -> str:
    """A header cannot hold line breaks; a user cannot smuggle a second one in."""
    return "".join(character for character in value if character.isprintable())


async def _pieces(reply: aiohttp.ClientResponse) -> AsyncIterator[bytes]:
    import aiohttp

    try:
        async for piece in reply.content.iter_any():
            yield piece
    except (aiohttp.ClientError, OSError):
        return
    finally:
        reply.close()
