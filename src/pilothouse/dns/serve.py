"""The dns process: answers on UDP and TCP from its records, asks other resolvers for the rest.

Records come over a unix socket from the node process (see feed.py); the last ones are kept on disk, and served from
the start, so names resolve while everything else is away. Until there were any, names of the cluster get SERVFAIL:
a client tries again then, whereas NXDOMAIN would be believed.
"""

from __future__ import annotations

import contextlib
import socket
import struct
import time
from collections.abc import Callable

from pilothouse.dns import message
from pilothouse.dns.loop import READ, WRITE, Loop, Timer
from pilothouse.dns.message import BadMessage, Query, Record
from pilothouse.dns.metrics import Metrics
from pilothouse.dns.records import TTL, Records
from pilothouse.dns.upstream import Upstream

_MOST_CONNECTIONS = 200
_IDLE_SECONDS = 10.0
_MOST_UNSENT = 1 << 20
_BURST = 64
"""Datagrams answered before other sockets have their turn."""

Reply = Callable[[bytes], None]


class Answerer:
    """From a query to its answer, at once or later."""

    def __init__(self, records: Records, upstream: Upstream, metrics: Metrics) -> None:
        self._records = records
        self._upstream = upstream
        self._metrics = metrics

    def answer(self, wire: bytes, reply: Reply, *, tcp: bool) -> None:
        """Calls `reply` with the answer to the query in `wire`, once; not at all for what is no query."""
        try:
            query = message.parse_query(wire)
        except BadMessage as error:
            if error.code >= 0:
                reply(message.refusal(wire, error.code))
            return
        self._metrics.asked(query.type, tcp=tcp)
        began = time.monotonic()

        def limited(found: bytes) -> None:
            self._metrics.answered(found, time.monotonic() - began)
            reply(found if tcp else message.fit(query, found))

        if query.cls != message.IN:
            limited(message.response(query, message.REFUSED, authoritative=False))
        elif self._records.zone_of(query.name) is None:
            self._upstream.ask(query, lambda found: limited(found or _failure(query)), tcp=tcp)
        elif not self._records.loaded:
            limited(_failure(query))
        else:
            self._from_records(query, limited, tcp)

    def _from_records(self, query: Query, reply: Reply, tcp: bool) -> None:
        found = self._records.answer(query.name, query.type)
        if not found.outside:
            reply(message.response(query, found.code, found.answers, found.authority, found.additional))
            return

        def finish(wire: bytes | None) -> None:
            if wire is None:
                reply(_failure(query))
            else:
                reply(_joined(query, found.answers, target, wire))

        target = _question(query, found.outside)
        self._upstream.ask(target, finish, tcp=tcp)


def _failure(query: Query) -> bytes:
    return message.response(query, message.SERVFAIL, authoritative=False)


def _question(query: Query, name: str) -> Query:
    """The query that asks the same about another name."""
    question = message.encode_name(name) + query.question[-4:]
    header = struct.pack("!6H", query.id, 0x0100, 1, 0, 0, 0)
    return Query(query.id, 0x0100, name, query.type, query.cls, question, False, 512, header + question)


def _joined(query: Query, aliases: list[Record], target: Query, wire: bytes) -> bytes:
    """Our aliases, followed by what another resolver said about the name they lead to."""
    answers = list(aliases)
    offset = 12 + len(target.question)
    count, _, _ = message.counts(wire)
    with contextlib.suppress(BadMessage):
        for _turn in range(count):
            name, _ = message.read_name(wire, offset)
            found = next(message.read_records(wire, offset))
            data = wire[found.data_at : found.end]
            if found.type == message.CNAME:
                data = message.encode_name(message.read_name(wire, found.data_at)[0])
            if found.type in (message.CNAME, message.A, message.AAAA, message.TXT):
                answers.append(Record(name, found.type, min(found.ttl, TTL), data))
            offset = found.end
    code = message.code_of(wire)
    return message.response(query, code, answers, authoritative=False)


class UdpServer:
    """Answers datagrams on a bound socket."""

    def __init__(self, loop: Loop, sock: socket.socket, answerer: Answerer) -> None:
        sock.setblocking(False)
        self._socket = sock
        self._answerer = answerer
        loop.watch(sock, READ, self._read)

    def _read(self, _: int) -> None:
        for _turn in range(_BURST):
            try:
                wire, client = self._socket.recvfrom(4096)
            except OSError:  # nothing more, or an ICMP error of an earlier answer
                return
            self._answerer.answer(wire, self._sender(client), tcp=False)

    def _sender(self, client: tuple[str, int]) -> Reply:
        def send(answer: bytes) -> None:
            # A full buffer drops the answer: the client asks again.
            with contextlib.suppress(OSError):
                self._socket.sendto(answer, client)

        return send


class TcpServer:
    """Answers queries on connections to a listening socket; idle ones are closed after ten seconds."""

    def __init__(self, loop: Loop, sock: socket.socket, answerer: Answerer) -> None:
        sock.setblocking(False)
        self._loop = loop
        self._socket = sock
        self._answerer = answerer
        self._open = 0
        loop.watch(sock, READ, self._accept)

    def _accept(self, _: int) -> None:
        try:
            connection, _client = self._socket.accept()
        except OSError:
            return
        if self._open >= _MOST_CONNECTIONS:
            connection.close()
            return
        self._open += 1
        _Connection(self._loop, connection, self._answerer, self._closed)

    def _closed(self) -> None:
        self._open -= 1


class _Connection:
    def __init__(self, loop: Loop, sock: socket.socket, answerer: Answerer, closed: Callable[[], None]) -> None:
        sock.setblocking(False)
        self._loop = loop
        self._socket = sock
        self._answerer = answerer
        self._closed = closed
        self._incoming = b""
        self._outgoing = b""
        self._idle: Timer = loop.after(_IDLE_SECONDS, self._close)
        loop.watch(sock, READ, self._ready)

    def _ready(self, events: int) -> None:
        if events & WRITE:
            self._flush()
        if events & READ and self._socket.fileno() >= 0:
            self._read()

    def _read(self) -> None:
        try:
            data = self._socket.recv(65536)
        except BlockingIOError:
            return
        except OSError:
            data = b""
        if not data:
            self._close()
            return
        self._idle.cancel()
        self._idle = self._loop.after(_IDLE_SECONDS, self._close)
        self._incoming += data
        while len(self._incoming) >= 2:
            size = int.from_bytes(self._incoming[:2], "big") + 2
            if len(self._incoming) < size:
                return
            wire, self._incoming = self._incoming[2:size], self._incoming[size:]
            self._answerer.answer(wire, self._reply, tcp=True)

    def _reply(self, answer: bytes) -> None:
        if self._socket.fileno() < 0:
            return
        self._outgoing += struct.pack("!H", len(answer)) + answer
        if len(self._outgoing) > _MOST_UNSENT:
            self._close()
            return
        self._flush()

    def _flush(self) -> None:
        try:
            self._outgoing = self._outgoing[self._socket.send(self._outgoing) :]
        except BlockingIOError:
            pass
        except OSError:
            self._close()
            return
        self._loop.watch(self._socket, READ | WRITE if self._outgoing else READ, self._ready)

    def _close(self) -> None:
        if self._socket.fileno() >= 0:
            self._idle.cancel()
            self._loop.forget(self._socket)
            self._closed()
