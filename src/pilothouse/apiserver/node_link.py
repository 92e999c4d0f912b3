"""The server's way to the HTTPS API of nodes: logs, streams and statistics are asked for there."""

from __future__ import annotations

import ssl
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from pilothouse.client.wire import Request, Response
from pilothouse.kinds.families import join_host_port
from pilothouse.machinery.errors import ServiceUnavailable, from_status
from pilothouse.machinery.objects import Obj

if TYPE_CHECKING:
    import aiohttp

_CONNECT_SECONDS = 5.0


@dataclass(frozen=True, slots=True)
class NodeAddress:
    """Where a node serves its API."""

    name: str
    host: str
    port: int

    def url(self, path: str, scheme: str = "https") -> str:
        return f"{scheme}://{join_host_port(self.host, self.port)}{path}"


def node_address(node: Obj) -> NodeAddress:
    """The first address in a Node's status. Raises ServiceUnavailable when the node has told none."""
    name = node["metadata"]["name"]
    status = node.get("status") or {}
    told = status.get("addresses") or ()
    port = ((status.get("daemonEndpoints") or {}).get("kubeletEndpoint") or {}).get("Port")
    host = next((entry.get("address") for entry in told if entry.get("type") == "InternalIP"), None)
    if not host or not port:
        raise ServiceUnavailable(f'node "{name}" has not told where it can be reached; is its engine running?')
    return NodeAddress(name, host, int(port))


class NodeLink:
    """Connects to nodes with the client certificate in `ssl_context`."""

    def __init__(self, ssl_context: ssl.SSLContext) -> None:
        self._ssl = ssl_context
        self._session: aiohttp.ClientSession | None = None

    def renew(self, ssl_context: ssl.SSLContext) -> None:
        """Uses another certificate from now on."""
        self._ssl = ssl_context

    def _open(self) -> aiohttp.ClientSession:
        import aiohttp

        if self._session is None or self._session.closed:
            timeout = aiohttp.ClientTimeout(total=None, sock_connect=_CONNECT_SECONDS)
            self._session = aiohttp.ClientSession(
                connector=aiohttp.TCPConnector(limit=0), timeout=timeout, middlewares=(_raise_refusals,)
            )
        return self._session

    async def get(self, address: NodeAddress, path: str, query: list[tuple[str, str]]) -> AsyncIterator[bytes]:
        """The body of a GET as it comes. Raises the error the node answers with, ServiceUnavailable when it is away."""
        return _pieces(await self._send("GET", address, path, query))

    async def forward(self, address: NodeAddress, path: str, request: Request) -> Response:
        """What the node answers to a request of somebody's, as it comes. Raises as `get` does."""
        headers = {name: request.headers[name] for name in ("accept", "content-type") if name in request.headers}
        reply = await self._send(request.method, address, path, request.query, request.body, headers)
        kind = reply.headers.get("content-type", "application/octet-stream")
        return Response(reply.status, {"content-type": kind}, stream=_pieces(reply))

    async def read(self, address: NodeAddress, path: str, seconds: float) -> bytes:
        """The whole body of a GET, within a time limit."""
        import asyncio

        try:
            async with asyncio.timeout(seconds):
                return b"".join([piece async for piece in await self.get(address, path, [])])
        except TimeoutError as error:
            raise ServiceUnavailable(f'node "{address.name}" did not answer within {seconds:g} s') from error

    async def _send(
        self,
        method: str,
        address: NodeAddress,
        path: str,
        query: list[tuple[str, str]],
        body: bytes = b"",
        headers: Mapping[str, str] | None = None,
    ) -> aiohttp.ClientResponse:
        import aiohttp

        try:
            return await self._open().request(
                method, address.url(path), params=query, data=body or None, headers=headers, ssl=self._ssl
            )
        except (aiohttp.ClientError, OSError, TimeoutError) as error:
            raise unreachable(address, error) from error

    async def connect(
        self, address: NodeAddress, path: str, query: list[tuple[str, str]], protocols: tuple[str, ...]
    ) -> aiohttp.ClientWebSocketResponse:
        """A WebSocket to the node. Raises the error the node answers with, ServiceUnavailable when it is away."""
        import aiohttp

        try:
            return await self._open().ws_connect(
                address.url(path),
                params=query,
                protocols=protocols,
                ssl=self._ssl,
                max_msg_size=0,
                autoping=True,
                autoclose=True,
            )
        except (aiohttp.ClientError, OSError, TimeoutError) as error:
            raise unreachable(address, error) from error

    async def close(self) -> None:
        if self._session is not None:
            await self._session.close()


async def _raise_refusals(request: aiohttp.ClientRequest, send: aiohttp.ClientHandlerType) -> aiohttp.ClientResponse:
    """Raises the error that a node answers with, before a WebSocket handshake would drop its text."""
    reply = await send(request)
    if reply.status >= 400:
        raise from_status(_tree(await reply.read()), reply.status)
    return reply


def unreachable(address: NodeAddress, error: BaseException) -> ServiceUnavailable:
    where, why = join_host_port(address.host, address.port), error or type(error).__name__
    return ServiceUnavailable(f'node "{address.name}" cannot be reached at {where}: {why}; is its engine running?')


def _tree(body: bytes) -> dict[str, Any]:
    import orjson

    try:
        tree = orjson.loads(body)
    except orjson.JSONDecodeError:
        return {"message": body[:1000].decode("utf-8", "replace").strip()}
    return tree if isinstance(tree, dict) else {}


async def _pieces(reply: aiohttp.ClientResponse) -> AsyncIterator[bytes]:
    import aiohttp

    try:
        async for piece in reply.content.iter_any():
            yield piece
    except aiohttp.ClientError as error:
        raise ServiceUnavailable(f"the connection to the node broke: {error}") from error
    finally:
        reply.close()
