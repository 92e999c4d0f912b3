"""DNS messages on the wire (RFC 1035, EDNS of RFC 6891): questions in, answers out. Pure.

Only what a cluster's resolver needs is here, so that the process stays small: a general DNS library costs 5 MB.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator, Sequence
from typing import NamedTuple

A, NS, CNAME, SOA, PTR, TXT, AAAA, SRV, OPT, ANY = 1, 2, 5, 6, 12, 16, 28, 33, 41, 255
TYPES = {"A": A, "AAAA": AAAA, "CNAME": CNAME, "PTR": PTR, "TXT": TXT, "SRV": SRV, "SOA": SOA, "NS": NS}
IN = 1
NOERROR, FORMERR, SERVFAIL, NXDOMAIN, NOTIMP, REFUSED = range(6)

_QR, _AA, _TC, _RD, _RA = 0x8000, 0x0400, 0x0200, 0x0100, 0x0080
_OPCODE = 0x7800
_HEADER = struct.Struct("!6H")
_PLAIN_SIZE = 512
MOST_UDP = 1232
"""The largest UDP answer sent, whatever the client offers: larger ones are fragmented on some paths."""


class BadMessage(ValueError):
    """Bytes that are no DNS query; `code` is the response code to answer with."""

    def __init__(self, code: int, why: str) -> None:
        super().__init__(why)
        self.code = code


class Query(NamedTuple):
    """A query with one question. `name` is in lower case without the final dot; `question` the question's bytes."""

    id: int
    flags: int
    name: str
    type: int
    cls: int
    question: bytes
    edns: bool
    udp_size: int
    wire: bytes

    @property
    def key(self) -> tuple[str, int, int, int, bool]:
        """What must be equal for two queries to have the same answer (the fourth: checking and AD flags)."""
        return (self.name, self.type, self.cls, self.flags & 0x0130, self.edns)


class Record(NamedTuple):
    """A resource record of class IN; `data` is in wire form, its names uncompressed."""

    name: str
    type: int
    ttl: int
    data: bytes


def parse_query(wire: bytes) -> Query:
    """The query in a message. Raises BadMessage; with code -1 if it must not be answered at all."""
    if len(wire) < 12:
        raise BadMessage(-1, "shorter than a header")
    id_, flags, questions, answers, _, additional = _HEADER.unpack_from(wire)
    if flags & _QR:
        raise BadMessage(-1, "a response")
    if flags & _OPCODE:
        raise BadMessage(NOTIMP, "not a standard query")
    if questions != 1 or answers:
        raise BadMessage(FORMERR, "not one question")
    name, end = read_name(wire, 12)
    if end + 4 > len(wire):
        raise BadMessage(FORMERR, "cut short")
    type_, cls = struct.unpack_from("!HH", wire, end)
    end += 4
    edns, size = False, _PLAIN_SIZE
    if additional:
        for record in read_records(wire, end):
            if record.type == OPT:
                edns, size = True, min(max(record.cls, _PLAIN_SIZE), MOST_UDP)
    return Query(id_, flags, name, type_, cls, wire[12:end], edns, size, wire)


def read_name(wire: bytes, offset: int) -> tuple[str, int]:
    """The name at `offset`, in lower case, and the offset behind it. Raises BadMessage."""
    labels: list[str] = []
    end, length = -1, 0
    while True:
        if offset >= len(wire):
            raise BadMessage(FORMERR, "a name runs over the end")
        size = wire[offset]
        if size >= 0xC0:
            if offset + 1 >= len(wire):
                raise BadMessage(FORMERR, "a name runs over the end")
            end = offset + 2 if end < 0 else end
            target = (size & 0x3F) << 8 | wire[offset + 1]
            if target >= offset:
                raise BadMessage(FORMERR, "a name points forward")
            offset = target
            continue
        if size > 63:
            raise BadMessage(FORMERR, "a label of an unknown kind")
        offset += 1
        if not size:
            return ".".join(labels), end if end >= 0 else offset
        length += size + 1
        if length > 254 or offset + size > len(wire):
            raise BadMessage(FORMERR, "a name too long")
        labels.append(wire[offset : offset + size].decode("latin-1").lower())
        offset += size


class Found(NamedTuple):
    """Where a record lies in a message; `ttl_at` is the offset of its time to live."""

    type: int
    cls: int
    ttl: int
    ttl_at: int
    data_at: int
    end: int


def read_records(wire: bytes, offset: int) -> Iterator[Found]:
    """The records from `offset` to the message's end. Raises BadMessage."""
    while offset < len(wire):
        _, offset = read_name(wire, offset)
        if offset + 10 > len(wire):
            raise BadMessage(FORMERR, "a record runs over the end")
        type_, cls, ttl, size = struct.unpack_from("!HHIH", wire, offset)
        end = offset + 10 + size
        if end > len(wire):
            raise BadMessage(FORMERR, "a record runs over the end")
        yield Found(type_, cls, ttl, offset + 4, offset + 10, end)
        offset = end


def encode_name(name: str) -> bytes:
    """A name in wire form, uncompressed. Raises ValueError for labels or names that are too long."""
    if not name:
        return b"\0"
    labels = [label.encode("latin-1") for label in name.rstrip(".").split(".")]
    if any(not 0 < len(label) < 64 for label in labels):
        raise ValueError(f"{name!r} is not a domain name")
    wire = b"".join(bytes((len(label),)) + label for label in labels) + b"\0"
    if len(wire) > 255:
        raise ValueError(f"the domain name {name!r} is longer than 255 bytes")
    return wire


def response(
    query: Query,
    code: int,
    answers: Sequence[Record] = (),
    authority: Sequence[Record] = (),
    additional: Sequence[Record] = (),
    *,
    authoritative: bool = True,
) -> bytes:
    """The whole answer to a query; names that equal the question's point to it, others are written out."""
    flags = _QR | (_AA if authoritative else 0) | (query.flags & _RD) | _RA | code
    extra = len(additional) + query.edns
    parts = [_HEADER.pack(query.id, flags, 1, len(answers), len(authority), extra), query.question]
    places = {query.name: 12}
    size = 12 + len(query.question)
    for record in (*answers, *authority, *additional):
        place = places.get(record.name)
        if place is None:
            if size < 0x3FFF:
                places[record.name] = size
            name = encode_name(record.name)
        else:
            name = struct.pack("!H", 0xC000 | place)
        part = name + struct.pack("!HHIH", record.type, IN, record.ttl, len(record.data)) + record.data
        parts.append(part)
        size += len(part)
    if query.edns:
        parts.append(b"\0" + struct.pack("!HHIH", OPT, MOST_UDP, 0, 0))
    return b"".join(parts)


def refusal(wire: bytes, code: int) -> bytes:
    """An answer without sections to a message that could not be parsed."""
    id_, flags = struct.unpack_from("!HH", wire)
    return _HEADER.pack(id_, _QR | (flags & (_OPCODE | _RD)) | _RA | code, 0, 0, 0, 0)


def fit(query: Query, answer: bytes) -> bytes:
    """The answer as it may go over UDP: whole, or cut to the question with the truncation flag."""
    if len(answer) <= query.udp_size:
        return answer
    _, flags, *_ = _HEADER.unpack_from(answer)
    return _HEADER.pack(query.id, flags | _TC, 1, 0, 0, 0) + query.question


def is_truncated(wire: bytes) -> bool:
    return bool(wire[2] & _TC >> 8)


def code_of(wire: bytes) -> int:
    """The response code of an answer."""
    return wire[3] & 0xF


def counts(wire: bytes) -> tuple[int, int, int]:
    """How many answers, authorities and additional records a message says it has."""
    _, _, _, answers, authority, additional = _HEADER.unpack_from(wire)
    return answers, authority, additional
