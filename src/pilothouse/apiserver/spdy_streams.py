"""exec, attach and port-forward as kubectl spoke them before WebSockets: SPDY/3.1 on the client's connection.

Nodes speak WebSockets only. For exec and attach the client's streams are told from one another by the header
`streamtype`, and become the channels of `v5.channel.k8s.io`; port-forward's frames pass unread, as nodes know them.
What holds a fast sender back is the connection beneath: a piece is read when the one before has been passed on.
Source: Kubernetes' `remotecommand` v4 and `portforward` subprotocols; the SPDY protocol, draft 3.1.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import TYPE_CHECKING, Final

from pilothouse.apiserver.passed_upgrade import splice
from pilothouse.apiserver.upgrade import Pipe, Takeover
from pilothouse.client.wire import Request
from pilothouse.machinery import spdy
from pilothouse.machinery.errors import BadRequest

if TYPE_CHECKING:
    import aiohttp

PROTOCOL: Final = "spdy/3.1"
NODE_EXEC: Final = "v5.channel.k8s.io"
NODE_FORWARD: Final = "SPDY/3.1+portforward.k8s.io"
_EXEC, _FORWARD = "v4.channel.k8s.io", "portforward.k8s.io"
_CHANNELS: Final = {"stdin": 0, "stdout": 1, "stderr": 2, "error": 3, "resize": 4}
_STDIN, _ERROR = _CHANNELS["stdin"], _CHANNELS["error"]
_CLOSE_STDIN: Final = bytes((255, _STDIN))
_OPEN_SECONDS: Final = 30.0
"""For the client to open its streams."""
_END_SECONDS: Final = 5.0
"""For the client to hang up once it has been told how it ended."""


def wanted(request: Request) -> bool:
    """Whether a request asks for SPDY."""
    return request.headers.get("upgrade", "").lower() == PROTOCOL


def agree(request: Request, *, forward: bool) -> str:
    """The subprotocol, of those that the client offers. Raises BadRequest."""
    offered = [entry.strip() for entry in request.headers.get("x-stream-protocol-version", "").split(",")]
    own = _FORWARD if forward else _EXEC
    if own not in offered:
        raise BadRequest(f"unable to upgrade: no subprotocol is known to both; {own} is known here")
    return own


def takeover(protocol: str, node: aiohttp.ClientWebSocketResponse, expected: frozenset[str]) -> Takeover:
    """The answer that carries a session to a node. `expected` are the types of the streams that the client opens."""

    async def carry(client: Pipe) -> None:
        try:
            if protocol == _FORWARD:
                await splice(client, _NodePipe(node))
            else:
                await ExecStreams(client, node, expected).run()
        finally:
            await node.close()

    headers = {"connection": "Upgrade", "upgrade": "SPDY/3.1", "x-stream-protocol-version": protocol}
    return Takeover(101, headers, abandon=node.close, carry=carry)


def expected_streams(options: Mapping[str, object]) -> frozenset[str]:
    """The streams of a session with these PodExecOptions or PodAttachOptions."""
    found = {kind for kind in ("stdin", "stdout", "stderr") if options.get(kind)}
    return frozenset({*found, "error", *(("resize",) if options.get("tty") else ())})


class ExecStreams:
    """One session: SPDY streams on the client's side, channels on the node's."""

    def __init__(self, client: Pipe, node: aiohttp.ClientWebSocketResponse, expected: frozenset[str]) -> None:
        self._client = client
        self._node = node
        self._framing = spdy.Framing()
        self._missing = set(expected)
        self._channels: dict[int, int] = {}
        """By stream."""
        self._streams: dict[int, int] = {}
        """By channel."""
        self._complete = asyncio.Event()

    async def run(self) -> None:
        """Returns when the client has gone, or was told how its session ended."""
        incoming = asyncio.create_task(self._incoming(), name="SPDY input")
        outgoing = asyncio.create_task(self._outgoing(), name="SPDY output")
        try:
            await asyncio.wait((incoming, outgoing), return_when=asyncio.FIRST_COMPLETED)
            if outgoing.done():
                await asyncio.wait((incoming,), timeout=_END_SECONDS)
        finally:
            for task in (incoming, outgoing):
                task.cancel()
            await asyncio.gather(incoming, outgoing, return_exceptions=True)

    async def _incoming(self) -> None:
        try:
            while data := await self._client.read():
                for event in self._framing.receive(data):
                    await self._handle(event)
        except spdy.SpdyError:
            await self._client.write(self._framing.go_away(0, spdy.PROTOCOL_ERROR))
        except ConnectionError:
            return

    async def _handle(self, event: spdy.Event) -> None:
        match event:
            case spdy.Opened(stream, headers, fin):
                await self._opened(stream, headers.get("streamtype", ""), fin)
            case spdy.Data(stream, payload, fin):
                await self._data(self._channels.get(stream, -1), payload, fin)
            case spdy.Reset(stream, _):
                await self._data(self._channels.get(stream, -1), b"", True)
            case spdy.Pinged(identifier) if identifier % 2:
                # Odd ones are the client's own; ours would be even, and we send none.
                await self._client.write(self._framing.ping(identifier))
            case _:
                return

    async def _opened(self, stream: int, kind: str, fin: bool) -> None:
        if kind not in self._missing:
            await self._client.write(self._framing.reset(stream, spdy.REFUSED_STREAM))
            return
        self._missing.discard(kind)
        channel = _CHANNELS[kind]
        self._channels[stream], self._streams[channel] = channel, stream
        await self._client.write(self._framing.reply(stream))
        if not self._missing:
            self._complete.set()
        if fin:
            await self._data(channel, b"", True)

    async def _data(self, channel: int, payload: bytes, fin: bool) -> None:
        if channel not in (_STDIN, _CHANNELS["resize"]):
            return
        if payload:
            await self._node.send_bytes(bytes((channel,)) + payload)
        if fin and channel == _STDIN:
            await self._node.send_bytes(_CLOSE_STDIN)

    async def _outgoing(self) -> None:
        import aiohttp

        try:
            async with asyncio.timeout(_OPEN_SECONDS):
                await self._complete.wait()
            while (message := await self._node.receive()).type is aiohttp.WSMsgType.BINARY:
                stream = self._streams.get(message.data[0]) if message.data else None
                if stream is not None and len(message.data) > 1:
                    await self._client.write(spdy.Framing.data(stream, message.data[1:]))
                if message.data[:1] == bytes((_ERROR,)):
                    break
            for channel, stream in self._streams.items():
                if channel not in (_STDIN, _CHANNELS["resize"]):
                    await self._client.write(spdy.Framing.data(stream, b"", fin=True))
        except (TimeoutError, ConnectionError):
            return


class _NodePipe:
    """The bytes in a node's binary messages, as a `Pipe`."""

    def __init__(self, node: aiohttp.ClientWebSocketResponse) -> None:
        self._node = node

    async def read(self) -> bytes:
        import aiohttp

        message = await self._node.receive()
        return bytes(message.data) if message.type is aiohttp.WSMsgType.BINARY else b""

    async def write(self, data: bytes) -> None:
        await self._node.send_bytes(data)
