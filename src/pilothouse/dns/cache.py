"""Answers of other resolvers, kept for as long as their records allow. Pure but for the clock handed in."""

from __future__ import annotations

import struct
from collections import OrderedDict
from collections.abc import Callable
from typing import NamedTuple

from pilothouse.dns import message
from pilothouse.dns.message import BadMessage, Query

_MOST_SECONDS = 300
_MOST_NEGATIVE_SECONDS = 30

Key = tuple[str, int, int, int, bool]


class _Entry(NamedTuple):
    wire: bytes
    stored: float
    seconds: int
    ttls: tuple[tuple[int, int], ...]


class Cache:
    """At most `entries` answers and `size` bytes; the least recently used go first."""

    def __init__(self, clock: Callable[[], float], *, entries: int = 4096, size: int = 2_000_000) -> None:
        self._clock = clock
        self._most_entries, self._most_size = entries, size
        self._entries: OrderedDict[Key, _Entry] = OrderedDict()
        self._size = 0

    def __len__(self) -> int:
        return len(self._entries)

    def get(self, query: Query) -> bytes | None:
        """The answer to this query, its times to live reduced by its age."""
        entry = self._entries.get(query.key)
        if entry is None:
            return None
        age = int(self._clock() - entry.stored)
        if age >= entry.seconds:
            self._drop(query.key)
            return None
        self._entries.move_to_end(query.key)
        wire = bytearray(adapted(entry.wire, query))
        for offset, ttl in entry.ttls:
            struct.pack_into("!I", wire, offset, max(0, ttl - age))
        return bytes(wire)

    def put(self, query: Query, wire: bytes) -> None:
        """Keeps an answer, if it is one that may be kept."""
        if message.is_truncated(wire) or message.code_of(wire) not in (message.NOERROR, message.NXDOMAIN):
            return
        try:
            found = list(message.read_records(wire, 12 + len(query.question)))
        except BadMessage:
            return
        answers, authority, _ = message.counts(wire)
        ttls = tuple((record.ttl_at, record.ttl) for record in found if record.type != message.OPT)
        if answers and message.code_of(wire) == message.NOERROR:
            seconds = min(_MOST_SECONDS, *(record.ttl for record in found[:answers]))
        else:
            # Negative answers: the lesser of the SOA's time to live and its last field (RFC 2308); none, no caching.
            limits = [
                min(record.ttl, struct.unpack_from("!I", wire, record.end - 4)[0])
                for record in found[answers : answers + authority]
                if record.type == message.SOA and record.end - record.data_at >= 22
            ]
            seconds = min(_MOST_NEGATIVE_SECONDS, *limits) if limits else 0
        if seconds > 0:
            self._drop(query.key)
            self._entries[query.key] = _Entry(wire, self._clock(), seconds, ttls)
            self._size += len(wire)
            while len(self._entries) > self._most_entries or self._size > self._most_size:
                self._drop(next(iter(self._entries)))

    def _drop(self, key: Key) -> None:
        entry = self._entries.pop(key, None)
        if entry is not None:
            self._size -= len(entry.wire)


def adapted(wire: bytes, query: Query) -> bytes:
    """Another's answer as the answer to `query`: its number, and the question in its own spelling."""
    return struct.pack("!H", query.id) + wire[2:12] + query.question + wire[12 + len(query.question) :]
