"""SPDY/3.1 frames, as kubectl's port-forward and containerd's stream server speak them. Pure: bytes in, events out.

Windows are neither kept nor demanded: the peers' library (Go's spdystream) does not, and a window that nobody widens
would stall after 64 kB. What holds a fast sender back is the connection beneath.
Source: the SPDY protocol, draft 3.1, sections 2.2 and 2.6.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from pilothouse.machinery.spdy_dictionary import DICTIONARY

_CONTROL = 0x8000
_VERSION = 3
_SYN_STREAM, _SYN_REPLY, _RST_STREAM, _PING, _GOAWAY, _HEADERS = 1, 2, 3, 6, 7, 8
_FIN = 0x01
_MOST_FRAME = 1 << 20
_MOST_HEADERS = 64 << 10
_ID = 0x7FFFFFFF
MOST_DATA = 32 << 10
"""Bytes in one DATA frame; larger pieces are cut so that streams take turns."""

PROTOCOL_ERROR, INVALID_STREAM, REFUSED_STREAM, CANCEL = 1, 2, 3, 5
"""Reasons of RST_STREAM."""


class SpdyError(Exception):
    """The peer broke the protocol; the connection cannot go on."""


@dataclass(frozen=True, slots=True)
class Opened:
    """The peer opened a stream."""

    stream: int
    headers: Mapping[str, str]
    fin: bool


@dataclass(frozen=True, slots=True)
class Replied:
    """The peer accepted a stream of ours."""

    stream: int
    fin: bool


@dataclass(frozen=True, slots=True)
class Data:
    """Bytes of a stream; `fin` ends the peer's direction."""

    stream: int
    payload: bytes
    fin: bool


@dataclass(frozen=True, slots=True)
class Reset:
    """The peer ended a stream in both directions."""

    stream: int
    reason: int


@dataclass(frozen=True, slots=True)
class Pinged:
    """To be answered with `Framing.ping(id)`, unless it answers a ping of ours."""

    id: int


@dataclass(frozen=True, slots=True)
class GoneAway:
    """The peer will open no more streams."""


Event = Opened | Replied | Data | Reset | Pinged | GoneAway


class Framing:
    """One connection's frames: `receive` bytes to get events; the other methods return bytes to send."""

    def __init__(self) -> None:
        self._buffer = bytearray()
        self._inflate = zlib.decompressobj(zdict=DICTIONARY)
        self._deflate = zlib.compressobj(zdict=DICTIONARY)

    def receive(self, data: bytes) -> Iterator[Event]:
        """Takes bytes and yields the events of the frames they complete. Raises SpdyError."""
        self._buffer += data
        while len(self._buffer) >= 8:
            head, flags_length = struct.unpack_from(">II", self._buffer)
            length = flags_length & 0xFFFFFF
            if length > _MOST_FRAME:
                raise SpdyError(f"a frame of {length} bytes is more than {_MOST_FRAME}")
            if len(self._buffer) < 8 + length:
                return
            payload = bytes(self._buffer[8 : 8 + length])
            del self._buffer[: 8 + length]
            event = self._frame(head, flags_length >> 24, payload)
            if event is not None:
                yield event

    def _frame(self, head: int, flags: int, payload: bytes) -> Event | None:
        if not head >> 31:
            return Data(head & _ID, payload, bool(flags & _FIN))
        version, kind = head >> 16 & 0x7FFF, head & 0xFFFF
        if version != _VERSION:
            raise SpdyError(f"SPDY version {version} is not 3")
        try:
            return self._control(kind, flags, payload)
        except struct.error as error:
            raise SpdyError(f"a control frame of type {kind} is too short") from error

    def _control(self, kind: int, flags: int, payload: bytes) -> Event | None:
        if kind == _SYN_STREAM:
            (stream,) = struct.unpack_from(">I", payload)
            # Four bytes of the associated stream and two of priority and slot lie before the headers.
            return Opened(stream & _ID, self._read_headers(payload[10:]), bool(flags & _FIN))
        if kind == _SYN_REPLY:
            (stream,) = struct.unpack_from(">I", payload)
            self._read_headers(payload[4:])
            return Replied(stream & _ID, bool(flags & _FIN))
        if kind == _HEADERS:
            # Not used by the peers, but the compression context is shared, so it must pass through.
            self._read_headers(payload[4:])
            return None
        if kind == _RST_STREAM:
            stream, reason = struct.unpack_from(">II", payload)
            return Reset(stream & _ID, reason)
        if kind == _PING:
            (identifier,) = struct.unpack_from(">I", payload)
            return Pinged(identifier)
        if kind == _GOAWAY:
            return GoneAway()
        # SETTINGS and WINDOW_UPDATE say nothing that matters here; unknown control frames are to be ignored.
        return None

    def _read_headers(self, block: bytes) -> dict[str, str]:
        try:
            plain = self._inflate.decompress(block, _MOST_HEADERS)
        except zlib.error as error:
            raise SpdyError(f"the header block cannot be decompressed: {error}") from error
        if self._inflate.unconsumed_tail:
            raise SpdyError(f"the header block is larger than {_MOST_HEADERS} bytes")
        (count,) = struct.unpack_from(">I", plain)
        texts, offset = [], 4
        for _ in range(count * 2):
            (length,) = struct.unpack_from(">I", plain, offset)
            texts.append(plain[offset + 4 : offset + 4 + length].decode("latin-1"))
            offset += 4 + length
        if offset > len(plain):
            raise SpdyError("the header block ends inside a header")
        return {name.lower(): value for name, value in zip(texts[::2], texts[1::2])}

    def _write_headers(self, headers: Mapping[str, str]) -> bytes:
        parts = [struct.pack(">I", len(headers))]
        for text in (text for pair in headers.items() for text in pair):
            encoded = text.encode("latin-1")
            parts += (struct.pack(">I", len(encoded)), encoded)
        return self._deflate.compress(b"".join(parts)) + self._deflate.flush(zlib.Z_SYNC_FLUSH)

    def open(self, stream: int, headers: Mapping[str, str], *, fin: bool = False) -> bytes:
        """SYN_STREAM: opens a stream of ours; the client's ids are odd and grow."""
        payload = struct.pack(">IIH", stream, 0, 0) + self._write_headers(headers)
        return _control(_SYN_STREAM, _FIN if fin else 0, payload)

    def reply(self, stream: int, headers: Mapping[str, str] | None = None) -> bytes:
        """SYN_REPLY: accepts a stream of the peer."""
        return _control(_SYN_REPLY, 0, struct.pack(">I", stream) + self._write_headers(headers or {}))

    @staticmethod
    def data(stream: int, payload: bytes, *, fin: bool = False) -> bytes:
        """DATA frames with all of `payload`; `fin` ends our direction."""
        pieces = [payload[start : start + MOST_DATA] for start in range(0, len(payload), MOST_DATA)] or [b""]
        flags = [0] * (len(pieces) - 1) + [_FIN if fin else 0]
        return b"".join(
            struct.pack(">II", stream, flag << 24 | len(piece)) + piece for piece, flag in zip(pieces, flags)
        )

    @staticmethod
    def reset(stream: int, reason: int) -> bytes:
        """RST_STREAM: ends a stream in both directions."""
        return _control(_RST_STREAM, 0, struct.pack(">II", stream, reason))

    @staticmethod
    def ping(identifier: int) -> bytes:
        """PING; the answer to one repeats its id."""
        return _control(_PING, 0, struct.pack(">I", identifier))

    @staticmethod
    def go_away(last: int, status: int = 0) -> bytes:
        """GOAWAY: no streams after `last` are accepted."""
        return _control(_GOAWAY, 0, struct.pack(">II", last, status))


def _control(kind: int, flags: int, payload: bytes) -> bytes:
    return struct.pack(">HHI", _CONTROL | _VERSION, kind, flags << 24 | len(payload)) + payload
