"""pods/proxy and services/proxy: HTTP to a pod, or to a ready endpoint of a service, passed through the API server.

Names are `[SCHEME:]NAME[:PORT]`, as upstream's; a service's port may be its name. What the other side answers is handed
on as it comes, but that links of pages lead through the proxy again; after an upgrade (WebSocket, SPDY) bytes pass both
ways.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from ipaddress import ip_address
from typing import TYPE_CHECKING, Final, NamedTuple

from pilothouse.apiserver import codec, refusals
from pilothouse.apiserver.call import Backend, Call
from pilothouse.apiserver.endpoints import Unreachable, ready_endpoint
from pilothouse.apiserver.passed_upgrade import SWITCHING, asked, passed_on
from pilothouse.apiserver.reader import StoreReader
from pilothouse.apiserver.rewritten import rewritten_page, rewritten_url
from pilothouse.client.wire import Response
from pilothouse.machinery.errors import BadRequest, ServiceUnavailable
from pilothouse.machinery.objects import Obj

if TYPE_CHECKING:
    import aiohttp

_HOP: Final = frozenset(
    {
        "connection",
        "content-length",
        "host",
        "keep-alive",
        "proxy-authenticate",
        "proxy-authorization",
        "te",
        "trailer",
        "transfer-encoding",
        "upgrade",
    }
)
_OURS: Final = frozenset({"authorization", "cookie"})
"""Meant for this server, and no business of the other's."""


_LONGEST_PAGE: Final = 4 << 20
_PREFIX: Final = 7
"""Segments of the path before those of the other server."""


class Address(NamedTuple):
    """The parts of a proxied name."""

    scheme: str
    name: str
    port: str


def parse_name(text: str) -> Address:
    """`web`, `web:8080`, `https:web:8443`. Raises BadRequest."""
    parts = text.split(":")
    if len(parts) == 3 and parts[0] in ("", "http", "https"):
        return Address(parts[0] or "http", parts[1], parts[2])
    if len(parts) <= 2:
        return Address("http", parts[0], parts[1] if len(parts) == 2 else "")
    raise BadRequest(f"invalid request {text!r}: a name is [SCHEME:]NAME[:PORT]")


def check_host(host: str) -> None:
    """What an object may lead this server to. Raises BadRequest for this host's own addresses."""
    try:
        address = ip_address(host.strip("[]"))
    except ValueError:
        raise BadRequest("address not allowed") from None
    if address.is_loopback or address.is_link_local or address.is_unspecified or address.is_multicast:
        raise BadRequest("address not allowed")


async def proxy_pod(backend: Backend, call: Call) -> Response:
    return await _forward(backend, call, _of_pod)


async def proxy_service(backend: Backend, call: Call) -> Response:
    return await _forward(backend, call, _of_service)


Find = Callable[[Backend, Obj, Address], tuple[str, int]]


def _of_pod(backend: Backend, pod: Obj, address: Address) -> tuple[str, int]:
    ip = (pod.get("status") or {}).get("podIP") or ""
    if not ip:
        raise ServiceUnavailable(f"pod {address.name} has no address yet")
    ports = [port for c in pod["spec"].get("containers") or () for port in c.get("ports") or ()]
    if address.port:
        number = _number(address.port)
    else:
        number = ports[0]["containerPort"] if ports else 443 if address.scheme == "https" else 80
    return f"[{ip}]" if ":" in ip else ip, number


def _of_service(backend: Backend, service: Obj, address: Address) -> tuple[str, int]:
    ports = service["spec"].get("ports") or []
    entry = next((p for p in ports if address.port in (p.get("name"), str(p["port"]))), None)
    if entry is None and not address.port and len(ports) == 1:
        entry = ports[0]
    if entry is None or service["spec"].get("type") == "ExternalName":
        raise ServiceUnavailable(f'no endpoints available for service "{address.name}"')
    try:
        return ready_endpoint(service, entry["port"], StoreReader(backend.store))
    except Unreachable as error:
        raise ServiceUnavailable(str(error)) from error


def _number(text: str) -> int:
    if not text.isdecimal() or not 0 < int(text) < 65536:
        raise BadRequest(f"invalid port {text!r}")
    return int(text)


async def _forward(backend: Backend, call: Call, find: Find) -> Response:
    import aiohttp
    import yarl

    address = parse_name(call.route.name)
    record = backend.store.get(codec.key(call.resource, call.namespace, address.name))
    if record is None:
        raise refusals.not_found(call.resource, address.name)
    if backend.link is None:
        raise ServiceUnavailable("this server has no way to pods")
    host, port = find(backend, codec.decode(record.value), address)
    check_host(host)
    # After .../namespaces/NAMESPACE/pods/NAME/proxy, as it came.
    segments = call.request.path.lstrip("/").split("/")
    prefix, path = "/" + "/".join(segments[:_PREFIX]), "/" + "/".join(segments[_PREFIX:])
    upgrade = asked(call.request.headers)
    if len(segments) == _PREFIX and call.request.method in ("GET", "HEAD") and not upgrade:
        # What is relative in a page would otherwise lead past it.
        query = f"?{yarl.URL.build(query=call.request.query).raw_query_string}" if call.request.query else ""
        return Response(301, {"location": f"{prefix}/{query}"}, b"")
    headers = {k: v for k, v in call.request.headers.items() if _passed_on(k)} | upgrade
    if "text/html" in headers.get("accept", "") or "accept-encoding" not in headers:
        headers["accept-encoding"] = "identity"
    try:
        reply = await backend.link.open().request(
            call.request.method,
            yarl.URL(f"{address.scheme}://{host}:{port}{path}", encoded=True).with_query(call.request.query),
            data=call.request.body or None,
            headers=headers,
            ssl=False,
            allow_redirects=False,
        )
    except (aiohttp.ClientError, OSError, TimeoutError, ValueError) as error:
        raise ServiceUnavailable(f"error trying to reach service: {error or type(error).__name__}") from error
    if reply.status == SWITCHING:
        return passed_on(reply)
    kept = {name.lower(): value for name, value in reply.headers.items() if name.lower() not in _HOP}
    hosts = frozenset({f"{host}:{port}", host, call.request.headers.get("host", "")})
    if "location" in kept:
        kept["location"] = rewritten_url(kept["location"], prefix, hosts)
    if kept.get("content-type", "").startswith("text/html") and "content-encoding" not in kept:
        kept.pop("content-md5", None)
        return Response(reply.status, kept, stream=_page(reply, prefix, hosts))
    return Response(reply.status, kept, stream=_pieces(reply))


async def _page(reply: aiohttp.ClientResponse, prefix: str, hosts: frozenset[str]) -> AsyncIterator[bytes]:
    """A page with its links rewritten; one that is too long to be held is passed on as it is."""
    held = bytearray()
    pieces = _pieces(reply)
    async for piece in pieces:
        held += piece
        if len(held) > _LONGEST_PAGE:
            yield bytes(held)
            async for rest in pieces:
                yield rest
            return
    # Every byte stands for itself, whatever the page's encoding: markup is ASCII in all that are in use.
    yield rewritten_page(held.decode("latin-1"), prefix, hosts).encode("latin-1", "xmlcharrefreplace")


def _passed_on(name: str) -> bool:
    return name not in _HOP and name not in _OURS and not name.startswith(("impersonate-", "x-remote-"))


async def _pieces(reply: aiohttp.ClientResponse) -> AsyncIterator[bytes]:
    import aiohttp

    try:
        async for piece in reply.content.iter_any():
            yield piece
    except (aiohttp.ClientError, OSError):
        return
    finally:
        reply.close()
