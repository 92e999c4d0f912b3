"""WebSockets of the streams, carried by aiohttp."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable, Sequence

from aiohttp import WSMsgType, web

from pilothouse.machinery.errors import ApiError, BadRequest
from pilothouse.node.streams import channels

_MOST_MESSAGE = 32 << 20
_PING_SECONDS = 20.0
_CLOSE_SECONDS = 5.0


class AiohttpSocket:
    """An accepted WebSocket as `streams.session.Socket`."""

    def __init__(self, response: web.WebSocketResponse) -> None:
        self._response = response

    @property
    def protocol(self) -> str:
        return self._response.ws_protocol or ""

    async def receive(self) -> bytes | None:
        message = await self._response.receive()
        if message.type is WSMsgType.BINARY:
            return bytes(message.data)
        if message.type is WSMsgType.TEXT:
            return str(message.data).encode()
        return None

    async def send(self, message: bytes) -> None:
        if self._response.closed:
            raise ConnectionResetError("the client has gone")
        await self._response.send_bytes(message)

    async def close(self) -> None:
        await self._response.close()

    async def keep_alive(self) -> None:
        """Pings, so that a client that vanished is noticed even while it has nothing to read."""
        while True:
            await asyncio.sleep(_PING_SECONDS)
            await self._response.ping()


async def serve(
    request: web.Request, protocols: Sequence[str], session: Callable[[AiohttpSocket], Awaitable[None]]
) -> web.StreamResponse:
    """Accepts the WebSocket and runs the session on it. Raises BadRequest when none of the protocols is offered."""
    if request.headers.get("Upgrade", "").lower() != "websocket":
        raise BadRequest("Upgrade request required: the node carries streams over WebSocket")
    offered = [entry.strip() for entry in request.headers.get("Sec-WebSocket-Protocol", "").split(",")]
    agreed = [protocol for protocol in protocols if protocol in offered]
    if not agreed and (offered != [""] or channels.V1 not in protocols):
        raise BadRequest(f"the client offers {', '.join(offered) or 'no subprotocol'}; known: {', '.join(protocols)}")
    response = web.WebSocketResponse(
        protocols=agreed[:1], max_msg_size=_MOST_MESSAGE, timeout=_CLOSE_SECONDS, compress=False
    )
    await response.prepare(request)
    socket = AiohttpSocket(response)
    pings = asyncio.create_task(socket.keep_alive(), name="pings")
    try:
        # ConnectionError: the client has gone, and nobody is left to tell.
        with contextlib.suppress(ConnectionError):
            await session(socket)
    finally:
        pings.cancel()
        await asyncio.gather(pings, return_exceptions=True)
        if not response.closed:
            await response.close()
    return response


async def refuse(socket: AiohttpSocket, error: ApiError) -> None:
    """Tells the client on the error channel why there is no session: a refused handshake would lose the reason."""
    await socket.send(channels.ending(socket.protocol, channels.failure_status(error.message)))
    await socket.close()
