"""Port-forward as kubectl speaks it: SPDY/3.1 frames in the binary messages of a WebSocket.

For each connection the client opens an error stream and a data stream, which share the header `requestid`. What is
written on the error stream is shown to the user; both are ended when the connection is over.
"""

from __future__ import annotations

import asyncio
import logging
from dataclasses import dataclass, field

from pilothouse.machinery import spdy
from pilothouse.node.streams.forward import ForwardTarget, Inbox, Unreachable, forward
from pilothouse.node.streams.session import Socket

log = logging.getLogger(__name__)

PROTOCOL = "SPDY/3.1+portforward.k8s.io"


@dataclass(slots=True)
class _Pair:
    """A connection's two streams; 0 for one that has not been opened yet."""

    port: int
    error: int = 0
    data: int = 0
    inbox: Inbox = field(default_factory=Inbox)
    task: asyncio.Task[None] | None = None


class SpdyForward:
    """One client's session."""

    def __init__(self, socket: Socket, target: ForwardTarget) -> None:
        self._socket = socket
        self._target = target
        self._framing = spdy.Framing()
        self._pairs: dict[str, _Pair] = {}
        self._by_data: dict[int, tuple[str, _Pair]] = {}

    async def run(self) -> None:
        """Returns when the client has gone, or has broken the protocol."""
        try:
            while (message := await self._socket.receive()) is not None:
                for event in self._framing.receive(message):
                    await self._handle(event)
        except spdy.SpdyError as error:
            log.warning("port-forward to pod %s/%s: %s", self._target.namespace, self._target.name, error)
            await self._socket.send(self._framing.go_away(0, spdy.PROTOCOL_ERROR))
        finally:
            tasks = [pair.task for pair in self._pairs.values() if pair.task is not None]
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
        await self._socket.close()

    async def _handle(self, event: spdy.Event) -> None:
        match event:
            case spdy.Opened():
                await self._opened(event)
            case spdy.Data(stream, payload, fin):
                await self._data(stream, payload, fin)
            case spdy.Reset(stream, _):
                self._reset(stream)
            case spdy.Pinged(identifier) if identifier % 2:
                # Odd ones are the client's own; ours would be even, and we send none.
                await self._socket.send(self._framing.ping(identifier))
            case _:
                return

    async def _opened(self, event: spdy.Opened) -> None:
        kind, port = event.headers.get("streamtype", ""), event.headers.get("port", "")
        if kind not in ("error", "data") or not port.isdigit() or not 0 < int(port) < 65536:
            await self._socket.send(self._framing.reset(event.stream, spdy.REFUSED_STREAM))
            return
        request = event.headers.get("requestid") or self._guess(event.stream, kind)
        pair = self._pairs.setdefault(request, _Pair(int(port)))
        if kind == "error":
            pair.error = event.stream
        else:
            pair.data = event.stream
            self._by_data[event.stream] = (request, pair)
        await self._socket.send(self._framing.reply(event.stream))
        if pair.error and pair.data and pair.task is None:
            pair.task = asyncio.create_task(self._carry(request, pair), name=f"forward to {pair.port}")
            pair.task.add_done_callback(_log_failure)

    @staticmethod
    def _guess(stream: int, kind: str) -> str:
        """Clients older than the header open the error stream right before the data stream."""
        return f"stream {stream if kind == 'error' else stream - 2}"

    async def _data(self, stream: int, payload: bytes, fin: bool) -> None:
        found = self._by_data.get(stream)
        if found is None:
            return
        _, pair = found
        if payload:
            await pair.inbox.put(payload)
        if fin:
            await pair.inbox.end()

    def _reset(self, stream: int) -> None:
        found = self._by_data.get(stream)
        if found is not None and found[1].task is not None:
            found[1].task.cancel()

    async def _carry(self, request: str, pair: _Pair) -> None:
        try:
            await forward(self._target, pair.port, pair.inbox, lambda piece: self._send(pair, piece))
        except Unreachable as error:
            await self._socket.send(spdy.Framing.data(pair.error, str(error).encode()))
        finally:
            self._by_data.pop(pair.data, None)
            self._pairs.pop(request, None)
        await self._socket.send(spdy.Framing.data(pair.data, b"", fin=True))
        await self._socket.send(spdy.Framing.data(pair.error, b"", fin=True))

    async def _send(self, pair: _Pair, piece: bytes) -> None:
        await self._socket.send(spdy.Framing.data(pair.data, piece))


def _log_failure(task: asyncio.Task[None]) -> None:
    if not task.cancelled() and (error := task.exception()) is not None and not isinstance(error, ConnectionError):
        log.error("a forwarded connection failed", exc_info=error)
