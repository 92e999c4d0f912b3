"""The HTTPS edge: aiohttp's low-level server in front of `ApiServer.handle`.

It reads the body (to a limit), hands over who the client certificate names, writes whole bodies or streams, and turns a
connection into a WebSocket, or hands its bytes to somebody else, when the answer says so. The TLS context it is given
asks for a client certificate without insisting, and verifies one that is shown.
"""

from __future__ import annotations

import asyncio
import logging
import socket
import ssl
import zlib
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from urllib.parse import parse_qsl

import orjson
from aiohttp import WSMsgType, web

from pilothouse.apiserver.takeover import take_over
from pilothouse.apiserver.upgrade import Message, MessageType, Takeover, Upgrade
from pilothouse.apiserver.whole_reply import WholeReply
from pilothouse.client.wire import Handler, Request, Response, User
from pilothouse.machinery.errors import BadRequest, TooLarge

log = logging.getLogger(__name__)

BODY_LIMIT = 3 << 20
"""Bytes of a request body, as upstream limits them."""
_GZIP_FROM = 128 * 1024
_PACKED_HERE = 16 * 1024
"""Bytes of a piece that are compressed sooner than they are handed to a thread."""
_NEVER_WAITS = 16 * 1024
"""Bytes that fit in a connection's buffer whenever that is empty."""
_SHUTDOWN_SECONDS = 2.0
_WRITE_SECONDS = 60.0
"""How long a client may take to read a piece before it is given up."""
_KEEPALIVE_SECONDS = 75.0

UserOfCertificate = Callable[[Mapping[str, object]], User | None]


def user_of_certificate(certificate: Mapping[str, object]) -> User | None:
    """The common name as user, the organisations as groups (`ssl.SSLSocket.getpeercert` form)."""
    name, groups = "", []
    subject = certificate.get("subject")
    for part in subject if isinstance(subject, tuple) else ():
        for key, value in part:
            if key == "commonName":
                name = value
            elif key == "organizationName":
                groups.append(value)
    return User(name, tuple(groups)) if name else None


class HttpsEdge:
    """Serves a handler on listening sockets until closed."""

    def __init__(
        self,
        handler: Handler,
        context: ssl.SSLContext | None,
        *,
        identify: UserOfCertificate = user_of_certificate,
    ) -> None:
        self._handler = handler
        self._context = context
        self._identify = identify
        self._server: web.Server | None = None
        self._listeners: list[asyncio.Server] = []
        self._streams: set[asyncio.Task[object]] = set()

    async def start(self, sockets: Sequence[socket.socket]) -> None:
        """Accepts connections on listening sockets opened by somebody else."""
        # Cancelled when the client goes away: else a watch without events would outlive its reader.
        self._server = web.Server(
            self._serve, access_log=None, keepalive_timeout=_KEEPALIVE_SECONDS, handler_cancellation=True
        )
        loop = asyncio.get_running_loop()
        for sock in sockets:
            sock.setblocking(False)
            self._listeners.append(await loop.create_server(self._server, sock=sock, ssl=self._context, backlog=1024))

    async def close(self) -> None:
        """Accepts nothing more, ends watches and other streams (their clients go on elsewhere or later), and lets
        other requests end for a moment."""
        for listener in self._listeners:
            listener.close()
        for task in self._streams:
            task.cancel()
        if self._server is not None:
            await self._server.shutdown(_SHUTDOWN_SECONDS)

    async def _serve(self, raw: web.BaseRequest) -> web.StreamResponse:
        try:
            request = await self._read(raw)
        except (TooLarge, BadRequest) as error:
            return WholeReply(error.code, {"content-type": "application/json"}, orjson.dumps(error.status()))
        response = await self._handler(request)
        if response.stream is None and not isinstance(response, Upgrade):
            return _whole(raw, response)
        task = asyncio.current_task()
        assert task is not None
        self._streams.add(task)
        try:
            if isinstance(response, Takeover):
                return await take_over(raw, response)
            if isinstance(response, Upgrade):
                return await _upgrade(raw, response)
            assert response.stream is not None
            return await _stream(raw, response, response.stream)
        finally:
            self._streams.discard(task)

    async def _read(self, raw: web.BaseRequest) -> Request:
        body = b""
        if raw.body_exists:
            body = await _limited(raw)
            encoding = raw.headers.get("Content-Encoding", "")
            if encoding:
                body = _decompressed(body, encoding)
        certificate = raw.get_extra_info("peercert")
        path, _, query = raw.raw_path.partition("?")
        return Request(
            raw.method,
            path,
            parse_qsl(query, keep_blank_values=True) if query else [],
            _headers(raw.headers),
            body,
            self._identify(certificate) if certificate else None,
            remote=raw.remote or "",
        )


def _headers(raw: Mapping[str, str]) -> dict[str, str]:
    """Names in lower case; values of a repeated header (`Impersonate-Group`) are joined by commas (RFC 9110, 5.3)."""
    headers: dict[str, str] = {}
    for name, value in raw.items():
        key = name.lower()
        headers[key] = f"{headers[key]}, {value}" if key in headers else value
    return headers


async def _limited(raw: web.BaseRequest) -> bytes:
    too_large = TooLarge(f"limit is {BODY_LIMIT} bytes: the body of the request is larger; split it up")
    if (raw.content_length or 0) > BODY_LIMIT:
        raise too_large
    pieces, size = [], 0
    async for piece in raw.content.iter_any():
        size += len(piece)
        if size > BODY_LIMIT:
            raise too_large
        pieces.append(piece)
    return b"".join(pieces)


def _decompressed(body: bytes, encoding: str) -> bytes:
    """aiohttp has already undone what it knows (gzip, deflate); what is left cannot be read."""
    if encoding.lower() in ("gzip", "deflate", "identity"):
        return body
    raise BadRequest(f"the body is encoded as {encoding}; send it plain or as gzip")


def _whole(raw: web.BaseRequest, response: Response) -> web.StreamResponse:
    headers, body = response.headers, response.body
    if len(body) >= _GZIP_FROM and "content-encoding" not in headers and _accepts_gzip(raw):
        # Fast, and in one go: bodies this server sends whole are at most a few hundred kilobytes.
        packer = zlib.compressobj(1, zlib.DEFLATED, 31)
        body = packer.compress(body) + packer.flush()
        headers = {**headers, "content-encoding": "gzip", "vary": "Accept-Encoding"}
    return WholeReply(response.status, headers, body)


def _accepts_gzip(raw: web.BaseRequest) -> bool:
    return "gzip" in raw.headers.get("Accept-Encoding", "")


async def _stream(raw: web.BaseRequest, response: Response, pieces: AsyncIterator[bytes]) -> web.StreamResponse:
    """Writes pieces as they come, and lets others have their turn after each; when the client goes away the pieces'
    source is closed."""
    reply = web.StreamResponse(status=response.status, headers=response.headers)
    watching = "watch=" in raw.raw_path
    plain = not watching and "follow=" not in raw.raw_path and "content-encoding" not in response.headers
    packer = zlib.compressobj(1, zlib.DEFLATED, 31) if plain and _accepts_gzip(raw) else None
    if packer is not None:
        reply.headers["content-encoding"] = "gzip"
    try:
        await reply.prepare(raw)
        async for piece in pieces:
            data = await _packed(packer, piece) if packer is not None else piece
            if watching and 0 < len(data) < _NEVER_WAITS and _all_sent(raw):
                # What a thousand watchers are told at once: a timeout and a turn more for each are a third of the work.
                await reply.write(data)
                continue
            if data:
                async with asyncio.timeout(_WRITE_SECONDS):
                    await reply.write(data)
            # A write waits only for a client that reads slowly.
            await asyncio.sleep(0)
        if packer is not None:
            await reply.write(packer.flush())
        await reply.write_eof()
    except (ConnectionError, TimeoutError):
        log.debug("%s went away", raw.remote)
        reply.force_close()
    finally:
        close = getattr(pieces, "aclose", None)
        if close is not None:
            await close()
    return reply


def _all_sent(raw: web.BaseRequest) -> bool:
    return raw.transport is not None and not raw.transport.get_write_buffer_size()


async def _packed(packer: zlib._Compress, piece: bytes) -> bytes:
    """Some milliseconds for a large piece, which need not be the event loop's: zlib lets go of the interpreter."""
    if len(piece) < _PACKED_HERE:
        return packer.compress(piece)
    return await asyncio.to_thread(packer.compress, piece)


class _ClientSocket:
    """The client's end of a WebSocket, as `upgrade.Socket`."""

    def __init__(self, ws: web.WebSocketResponse) -> None:
        self._ws = ws

    async def receive(self) -> Message:
        received = await self._ws.receive()
        if received.type is WSMsgType.BINARY:
            return Message(MessageType.BINARY, received.data)
        if received.type is WSMsgType.TEXT:
            return Message(MessageType.TEXT, received.data.encode())
        reason = received.extra.encode() if isinstance(received.extra, str) else b""
        return Message(MessageType.CLOSE, reason, self._ws.close_code or 1001)

    async def send(self, message: Message) -> None:
        try:
            if message.type is MessageType.BINARY:
                await self._ws.send_bytes(message.data)
            elif message.type is MessageType.TEXT:
                await self._ws.send_str(message.data.decode())
            else:
                await self._ws.close(code=message.code, message=message.data)
        except ConnectionError:
            log.debug("a stream's client went away")


async def _upgrade(raw: web.BaseRequest, response: Upgrade) -> web.StreamResponse:
    protocols = (response.protocol,) if response.protocol else ()
    ws = web.WebSocketResponse(protocols=protocols, autoping=True, autoclose=True, max_msg_size=0, compress=False)
    try:
        await ws.prepare(raw)
    except (web.HTTPException, ConnectionError):
        if response.abandon is not None:
            await response.abandon()
        raise
    if response.relay is not None:
        await response.relay(_ClientSocket(ws))
    await ws.close()
    return ws
