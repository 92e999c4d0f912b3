"""A node's streams without containers: exec runs the command as a process here, port-forward leads to this host."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import ssl
from urllib.parse import parse_qs, urlsplit

from aiohttp import WSMsgType, web

from pilothouse.node.api.websocket import AiohttpSocket
from pilothouse.node.streams import channels
from pilothouse.node.streams.forward import ForwardTarget
from pilothouse.node.streams.forward_spdy import PROTOCOL, SpdyForward

_PIECE = 64 << 10


class ProcessNode:
    """`sizes` are the terminal sizes it was told of, `ended` is set when a session's client has gone."""

    def __init__(self) -> None:
        self.sizes: list[channels.Size] = []
        self.ended = asyncio.Event()
        self.port = 0
        self._server = web.Server(self._handle)
        self._listener: asyncio.Server | None = None

    async def start(self, context: ssl.SSLContext) -> None:
        sock = socket.create_server(("127.0.0.1", 0))
        self.port = sock.getsockname()[1]
        self._listener = await asyncio.get_running_loop().create_server(self._server, sock=sock, ssl=context)

    async def close(self) -> None:
        assert self._listener is not None
        self._listener.close()
        await self._server.shutdown(0.1)

    async def _handle(self, request: web.BaseRequest) -> web.StreamResponse:
        ws = web.WebSocketResponse(protocols=(channels.V5, PROTOCOL), max_msg_size=0)
        await ws.prepare(request)
        parts = urlsplit(request.raw_path)
        if parts.path.startswith("/portForward/"):
            await SpdyForward(AiohttpSocket(ws), ForwardTarget("ns", "p", "u", "")).run()
        else:
            await self._exec(ws, parse_qs(parts.query)["command"])
        return ws

    async def _exec(self, ws: web.WebSocketResponse, command: list[str]) -> None:
        pipe = asyncio.subprocess.PIPE
        process = await asyncio.create_subprocess_exec(*command, stdin=pipe, stdout=pipe, stderr=pipe)
        incoming = asyncio.create_task(self._incoming(ws, process))
        try:
            await asyncio.gather(_copy(ws, channels.STDOUT, process.stdout), _copy(ws, channels.STDERR, process.stderr))
            status = channels.exit_status(await process.wait())
            await ws.send_bytes(channels.encode(channels.ERROR, status))
            await ws.close()
        except ConnectionError:
            pass
        finally:
            incoming.cancel()
            if process.returncode is None:
                process.kill()
            self.ended.set()

    async def _incoming(self, ws: web.WebSocketResponse, process: asyncio.subprocess.Process) -> None:
        assert process.stdin is not None
        while (message := await ws.receive()).type is WSMsgType.BINARY:
            match channels.decode(channels.V5, message.data):
                case channels.Data(_, payload):
                    with contextlib.suppress(ConnectionError):
                        process.stdin.write(bytes(payload))
                        await process.stdin.drain()
                case channels.Closed(_):
                    process.stdin.close()
                case channels.Size() as size:
                    self.sizes.append(size)
        if process.returncode is None:
            process.kill()


async def _copy(ws: web.WebSocketResponse, channel: int, source: asyncio.StreamReader | None) -> None:
    assert source is not None
    while piece := await source.read(_PIECE):
        await ws.send_bytes(channels.encode(channel, piece))
