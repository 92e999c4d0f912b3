"""Counts of the dns process, told in Prometheus' text format at `http://ADDRESS:9153/metrics`, as CoreDNS does.

Rejected: prometheus-client, which would double the process's memory for a dozen numbers.
"""

from __future__ import annotations

import socket
from bisect import bisect_left
from collections.abc import Callable

from pilothouse.dns import message
from pilothouse.dns.loop import READ, Loop, Timer

PORT = 9153
_TYPES = {number: name for name, number in {**message.TYPES, "ANY": message.ANY}.items()}
_CODES = ("NOERROR", "FORMERR", "SERVFAIL", "NXDOMAIN", "NOTIMP", "REFUSED")
_BOUNDS = (0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.1, 0.5, 1.0, 2.5)
_MOST_CONNECTIONS = 8
_SECONDS = 5.0

Text = Callable[[], str]


class Metrics:
    """Counters; labels come from fixed sets, so they are few."""

    def __init__(self) -> None:
        self.requests: dict[tuple[str, str], int] = {}
        self.responses: dict[str, int] = {}
        self.cache_hits = self.cache_misses = 0
        self.forwards = self.forward_failures = 0
        self._buckets = [0] * (len(_BOUNDS) + 1)
        self._seconds = 0.0

    def asked(self, kind: int, *, tcp: bool) -> None:
        key = ("tcp" if tcp else "udp", _TYPES.get(kind, "other"))
        self.requests[key] = self.requests.get(key, 0) + 1

    def answered(self, wire: bytes, seconds: float) -> None:
        code = message.code_of(wire)
        name = _CODES[code] if code < len(_CODES) else "other"
        self.responses[name] = self.responses.get(name, 0) + 1
        self._buckets[bisect_left(_BOUNDS, seconds)] += 1
        self._seconds += seconds

    def text(self, entries: int, names: int) -> str:
        """All of them; `entries` are in the cache, `names` those of services known."""
        lines: list[str] = []

        def metric(name: str, kind: str, about: str, *samples: tuple[str, float]) -> None:
            lines.extend((f"# HELP pilothouse_dns_{name} {about}", f"# TYPE pilothouse_dns_{name} {kind}"))
            lines.extend(f"pilothouse_dns_{name}{labels} {value:g}" for labels, value in samples)

        requests = [(f'{{proto="{proto}",type="{kind}"}}', n) for (proto, kind), n in sorted(self.requests.items())]
        metric("requests_total", "counter", "Questions asked.", *requests)
        responses = [(f'{{rcode="{code}"}}', n) for code, n in sorted(self.responses.items())]
        metric("responses_total", "counter", "Answers given.", *responses)
        metric("cache_hits_total", "counter", "Other names answered from memory.", ("", self.cache_hits))
        metric("cache_misses_total", "counter", "Other names not in memory.", ("", self.cache_misses))
        metric("forward_requests_total", "counter", "Questions asked of other resolvers.", ("", self.forwards))
        failures = ("", self.forward_failures)
        metric("forward_failures_total", "counter", "Those that no resolver answered.", failures)
        metric("cache_entries", "gauge", "Answers in memory.", ("", entries))
        metric("services", "gauge", "Services whose names are known.", ("", names))
        total, buckets = 0, []
        for bound, count in zip((*map(str, _BOUNDS), "+Inf"), self._buckets):
            total += count
            buckets.append((f'_bucket{{le="{bound}"}}', total))
        about = "Time from a question to its answer, other resolvers' time included."
        sums = (("_sum", self._seconds), ("_count", total))
        metric("request_duration_seconds", "histogram", about, *buckets, *sums)
        return "\n".join(lines) + "\n"


class MetricsServer:
    """Answers every request on a listening socket with the metrics, whatever its path, and closes."""

    def __init__(self, loop: Loop, sock: socket.socket, text: Text) -> None:
        sock.setblocking(False)
        self._loop, self._socket, self._text = loop, sock, text
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
        connection.setblocking(False)
        timer = self._loop.after(_SECONDS, lambda: self._close(connection))
        self._loop.watch(connection, READ, lambda _events: self._answer(connection, timer))

    def _answer(self, connection: socket.socket, timer: Timer) -> None:
        timer.cancel()
        try:
            if connection.recv(8192):
                body = self._text().encode()
                head = "HTTP/1.1 200 OK\r\nContent-Type: text/plain; version=0.0.4\r\nConnection: close\r\n"
                # Some 3 kB: they fit into any socket's buffer.
                connection.send(f"{head}Content-Length: {len(body)}\r\n\r\n".encode() + body)
        except OSError:
            pass
        self._close(connection)

    def _close(self, connection: socket.socket) -> None:
        if connection.fileno() >= 0:
            self._open -= 1
            self._loop.forget(connection)
