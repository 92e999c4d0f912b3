"""Questions for other resolvers: asked of the host's resolvers in turn, each for a short while, and cached.

A question under way is asked once, however many want to know; so a resolver that sends questions back to us makes
no loop, only one time-out. Questions that came by TCP are asked by TCP, since their answers are large.
"""

from __future__ import annotations

import os
import socket
import struct
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from pilothouse.dns import message
from pilothouse.dns.cache import Cache, adapted
from pilothouse.dns.loop import READ, WRITE, Loop, Timer
from pilothouse.dns.message import BadMessage, Query
from pilothouse.dns.metrics import Metrics
from pilothouse.linux.sockets import socket_family

_ATTEMPT_SECONDS = 0.8
_ATTEMPTS = 3
_MOST_UNDER_WAY = 1000
_REREAD_SECONDS = 5.0

Address = tuple[str, int]
Reply = Callable[[bytes | None], None]
"""Called with the answer in wire form, or None when no resolver gave one."""


class Resolvers:
    """The addresses to ask: those given, or those of a resolv.conf, read again when it changes."""

    def __init__(self, given: Sequence[Address], own: set[Address], path: Path = Path("/etc/resolv.conf")) -> None:
        self._given = [address for address in given if address not in own]
        self._fixed = bool(given)
        self._own = own
        self._path = path
        self._found: list[Address] = []
        self._read_at = float("-inf")
        self._modified = -1.0

    def addresses(self) -> list[Address]:
        if self._fixed:
            return self._given
        now = time.monotonic()
        if now - self._read_at > _REREAD_SECONDS:
            self._read_at = now
            try:
                modified = self._path.stat().st_mtime
                if modified != self._modified:
                    self._found = parse_resolv_conf(self._path.read_text(errors="replace"), self._own)
                    self._modified = modified
            except OSError:
                self._found = []
        return self._found


def parse_resolv_conf(text: str, own: set[Address]) -> list[Address]:
    """The name servers of a resolv.conf, without addresses of this server itself."""
    words = [line.split() for line in text.splitlines()]
    found = [line[1] for line in words if len(line) > 1 and line[0] == "nameserver"]
    addresses = [(address, 53) for address in dict.fromkeys(found)]
    return [address for address in addresses if address not in own]


class Upstream:
    """Asks other resolvers."""

    def __init__(self, loop: Loop, resolvers: Resolvers, metrics: Metrics) -> None:
        self._loop = loop
        self._metrics = metrics
        self._resolvers = resolvers
        self.cache = Cache(time.monotonic)
        self._under_way: dict[tuple[object, ...], _Attempt] = {}

    def ask(self, query: Query, reply: Reply, *, tcp: bool) -> None:
        """Answers from the cache at once, else when a resolver answered, or None after some 2.4 s."""
        cached = self.cache.get(query)
        if cached is not None:
            self._metrics.cache_hits += 1
            reply(cached)
            return
        self._metrics.cache_misses += 1
        key = (query.key, tcp)
        attempt = self._under_way.get(key)
        if attempt is not None:
            attempt.waiting.append((query, reply))
            return
        addresses = self._resolvers.addresses()
        if not addresses or len(self._under_way) >= _MOST_UNDER_WAY:
            reply(None)
            return
        turns = [addresses[turn % len(addresses)] for turn in range(max(_ATTEMPTS, len(addresses)))][:_ATTEMPTS]
        self._metrics.forwards += 1
        attempt = self._under_way[key] = _Attempt(self._loop, query, turns, tcp, lambda wire: self._done(key, wire))
        attempt.waiting.append((query, reply))
        attempt.start()

    def _done(self, key: tuple[object, ...], wire: bytes | None) -> None:
        attempt = self._under_way.pop(key)
        if wire is not None:
            self.cache.put(attempt.query, wire)
        else:
            self._metrics.forward_failures += 1
        for query, reply in attempt.waiting:
            reply(adapted(wire, query) if wire is not None else None)


class _Attempt:
    """One question on its way round the resolvers."""

    def __init__(
        self, loop: Loop, query: Query, turns: list[Address], tcp: bool, done: Callable[[bytes | None], None]
    ) -> None:
        self.query = query
        self.waiting: list[tuple[Query, Reply]] = []
        self._loop = loop
        self._turns = turns
        self._tcp = tcp
        self._done = done
        self._socket: socket.socket | None = None
        self._timer: Timer | None = None
        self._buffer = b""
        self._outgoing = b""
        self._id = 0
        self._failed: bytes | None = None

    def start(self) -> None:
        while self._turns:
            address = self._turns.pop(0)
            # A number and a port of its own for each attempt: an answer cannot be guessed.
            self._id = int.from_bytes(os.urandom(2), "big")
            self._outgoing = struct.pack("!H", self._id) + self.query.wire[2:]
            try:
                self._send(address)
            except OSError:
                self._close()
                continue
            self._timer = self._loop.after(_ATTEMPT_SECONDS, self._next)
            return
        # Every resolver was tried: a failure one of them reported says more than silence.
        self._done(self._failed)

    def _send(self, address: Address) -> None:
        kind = socket.SOCK_STREAM if self._tcp else socket.SOCK_DGRAM
        self._socket = sock = socket.socket(
            socket_family(address[0]), kind | socket.SOCK_NONBLOCK | socket.SOCK_CLOEXEC
        )
        if self._tcp:
            self._buffer = b""
            self._outgoing = struct.pack("!H", len(self._outgoing)) + self._outgoing
            if sock.connect_ex(address) not in (0, 115):  # EINPROGRESS
                raise OSError("not connected")
            self._loop.watch(sock, WRITE, self._write)
        else:
            sock.connect(address)
            sock.send(self._outgoing)
            self._loop.watch(sock, READ, self._read)

    def _write(self, _: int) -> None:
        assert self._socket is not None
        try:
            self._outgoing = self._outgoing[self._socket.send(self._outgoing) :]
        except BlockingIOError:
            return
        except OSError:
            self._next()
            return
        if not self._outgoing:
            self._loop.watch(self._socket, READ, self._read)

    def _read(self, _: int) -> None:
        assert self._socket is not None
        try:
            data = self._socket.recv(65535)
        except BlockingIOError:
            return
        except OSError:
            self._next()
            return
        if not self._tcp:
            self._answer(data)
            return
        self._buffer += data
        if len(self._buffer) >= 2 and len(self._buffer) >= (size := int.from_bytes(self._buffer[:2], "big") + 2):
            self._answer(self._buffer[2:size])
        elif not data:
            self._next()

    def _answer(self, wire: bytes) -> None:
        if not self._ours(wire):
            return
        if message.code_of(wire) in (message.SERVFAIL, message.REFUSED) and self._turns:
            self._failed = wire
            self._next()
            return
        self._close()
        self._done(wire)

    def _ours(self, wire: bytes) -> bool:
        if len(wire) < 12 + len(self.query.question) or int.from_bytes(wire[:2], "big") != self._id:
            return False
        try:
            name, end = message.read_name(wire, 12)
        except BadMessage:
            return False
        return bool(wire[2] & 0x80) and name == self.query.name and wire[end : end + 4] == self.query.question[-4:]

    def _next(self) -> None:
        self._close()
        self.start()

    def _close(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
        if self._socket is not None:
            self._loop.forget(self._socket)
            self._socket = None
