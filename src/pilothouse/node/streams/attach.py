"""attach: the streams of a container's own first process, which the runtime holds, bridged to a client's WebSocket.

The runtime's stream server is spoken to in SPDY/3.1, the one of its protocols in which standard input can end.
"""

from __future__ import annotations

import asyncio
import contextlib
import ssl
from urllib.parse import urlsplit

import orjson

from pilothouse.machinery import spdy
from pilothouse.node.cri import RuntimeFailure
from pilothouse.node.streams import channels
from pilothouse.node.streams.process import Streams
from pilothouse.node.streams.session import Socket, end
from pilothouse.node.streams.tasks import Tasks

_PIECE = 64 << 10
_CONNECT_SECONDS = 10.0
_STREAMS = {1: channels.ERROR, 3: channels.STDIN, 5: channels.STDOUT, 7: channels.STDERR, 9: channels.RESIZE}
"""Our stream ids, a client's being odd, and the channel each is bridged to."""
_TYPES = {1: "error", 3: "stdin", 5: "stdout", 7: "stderr", 9: "resize"}


async def run(socket: Socket, tasks: Tasks, container_id: str, streams: Streams) -> None:
    """Bridges until the container ends or the client goes away, which leaves the container running."""
    try:
        stdin, terminal = await tasks.container_io(container_id)
        wanted = Streams(
            # Asked for, but not there: upstream attaches the other streams too.
            stdin=streams.stdin and stdin,
            stdout=streams.stdout,
            stderr=streams.stderr and not terminal,
            terminal=terminal,
        )
        url = await tasks.attach_url(
            container_id, stdin=wanted.stdin, stdout=wanted.stdout, stderr=wanted.stderr, terminal=terminal
        )
        reader, writer = await _upgrade(url)
    except (RuntimeFailure, OSError, TimeoutError) as error:
        reason = getattr(error, "message", None) or str(error) or type(error).__name__
        await end(socket, channels.failure_status(f"the container cannot be attached to: {reason}"))
        return
    try:
        status = await _Bridge(socket, reader, writer, wanted).run()
    except (spdy.SpdyError, channels.ChannelError) as error:
        status = channels.failure_status(str(error))
    finally:
        writer.close()
    if status is not None:
        await end(socket, status)


async def _upgrade(url: str) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    """A connection that speaks SPDY/3.1 from here on. Raises OSError, TimeoutError."""
    parts = urlsplit(url)
    secure = None
    if parts.scheme == "https":
        # The server's certificate is of its own making, the address our own loopback.
        secure = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        secure.check_hostname, secure.verify_mode = False, ssl.CERT_NONE
    async with asyncio.timeout(_CONNECT_SECONDS):
        reader, writer = await asyncio.open_connection(parts.hostname, parts.port, ssl=secure)
        target = parts.path + (f"?{parts.query}" if parts.query else "")
        writer.write(
            f"POST {target} HTTP/1.1\r\nHost: {parts.netloc}\r\nConnection: Upgrade\r\nUpgrade: SPDY/3.1\r\n"
            f"X-Stream-Protocol-Version: v4.channel.k8s.io\r\nContent-Length: 0\r\n\r\n".encode()
        )
        head = await reader.readuntil(b"\r\n\r\n")
    answer = head.partition(b"\r\n")[0].decode("latin-1")
    if " 101 " not in answer:
        writer.close()
        raise ConnectionError(f"the runtime's stream server answered {answer}")
    return reader, writer


class _Bridge:
    """One client and the runtime's stream server."""

    def __init__(
        self, socket: Socket, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, streams: Streams
    ) -> None:
        self._socket = socket
        self._reader = reader
        self._writer = writer
        self._framing = spdy.Framing()
        chosen = {1: True, 3: streams.stdin, 5: streams.stdout, 7: streams.stderr, 9: streams.terminal}
        self._open = [stream for stream, wanted in chosen.items() if wanted]

    async def run(self) -> bytes | None:
        """The Status to end with, once nobody reads from or writes to the client any more; None when it has gone."""
        for stream in self._open:
            await self._write(self._framing.open(stream, {"streamtype": _TYPES[stream]}))
        outgoing = asyncio.create_task(self._to_client(), name="attach output")
        incoming = asyncio.create_task(self._to_runtime(), name="attach input")
        try:
            await asyncio.wait((outgoing, incoming), return_when=asyncio.FIRST_COMPLETED)
            if outgoing.done():
                return outgoing.result()
            incoming.result()
            return None
        finally:
            for task in (outgoing, incoming):
                task.cancel()
            await asyncio.gather(outgoing, incoming, return_exceptions=True)

    async def _to_client(self) -> bytes:
        """The Status to end with, once the container has ended: its outputs are closed."""
        waiting = set(self._open) & {1, 5, 7}
        status = b""
        while waiting and (data := await self._read()):
            for event in self._framing.receive(data):
                match event:
                    case spdy.Data(1, payload, fin):
                        status += payload
                    case spdy.Data(stream, payload, fin) if stream in (5, 7):
                        if payload:
                            await self._socket.send(channels.encode(_STREAMS[stream], payload))
                    case spdy.Pinged(identifier) if identifier % 2 == 0:
                        await self._write(self._framing.ping(identifier))
                        continue
                    case spdy.Reset(stream, _):
                        waiting.discard(stream)
                        continue
                    case _:
                        continue
                if fin:
                    waiting.discard(event.stream)
        return status or channels.exit_status(0)

    async def _to_runtime(self) -> None:
        """Until the client has closed or gone."""
        while (message := await self._socket.receive()) is not None:
            match channels.decode(self._socket.protocol, message):
                case channels.Data(channels.STDIN, payload) if 3 in self._open and payload:
                    await self._write(spdy.Framing.data(3, bytes(payload)))
                case channels.Closed(channels.STDIN) if 3 in self._open:
                    await self._write(spdy.Framing.data(3, b"", fin=True))
                case channels.Size(width, height) if 9 in self._open:
                    size = orjson.dumps({"Width": width, "Height": height})
                    await self._write(spdy.Framing.data(9, size))
                case _:
                    continue

    async def _read(self) -> bytes:
        try:
            return await self._reader.read(_PIECE)
        except ConnectionError:
            # The stream server drops the connection once the container, or a terminal's input, has ended.
            return b""

    async def _write(self, frames: bytes) -> None:
        self._writer.write(frames)
        # ConnectionError: the container has ended, which the reading side tells the client.
        with contextlib.suppress(ConnectionError):
            await self._writer.drain()
