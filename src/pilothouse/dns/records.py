"""The names a node answers for, by owner, and the answer to a question about them. Pure.

Records come as text (`["web.shop.svc.cluster.local", "A", "10.96.0.20"]`), so that the process that serves them
needs to know nothing of Services.
"""

from __future__ import annotations

import random
import re
import socket
import struct
from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

from pilothouse.dns import message
from pilothouse.dns.message import Record, encode_name

TTL = 5
"""Seconds; short, since endpoints come and go."""

TextRecord = Sequence[str]
"""Name, type and data. The type "NAME" has no data and says only that the name exists."""

_POD = re.compile(r"(\d{1,3})-(\d{1,3})-(\d{1,3})-(\d{1,3})\.[a-z0-9-]+\.pod")
_POD_IPV6 = re.compile(r"([0-9a-f-]{2,39})\.[a-z0-9-]+\.pod")
_MOST_CHASED = 8


class Answer(NamedTuple):
    """`outside` is the name at the end of an alias that leads out of the zones, to be resolved elsewhere."""

    code: int
    answers: list[Record]
    authority: list[Record]
    additional: list[Record]
    outside: str = ""


class Records:
    """All records, with every name above one of them (which exists, without data of its own)."""

    def __init__(self, domain: str) -> None:
        self.domain = domain
        self.zones: tuple[str, ...] = (domain,)
        self.loaded = False
        self.owners: dict[str, list[TextRecord]] = {}
        self._data: dict[str, dict[int, dict[bytes, int]]] = {}
        self._names: dict[str, int] = {}

    def replace(self, zones: Iterable[str], owners: Mapping[str, Sequence[TextRecord]]) -> list[str]:
        """Takes over a whole set: what it does not name is gone. Returns in words what of it is not valid."""
        problems = []
        self.zones = tuple(zones) or (self.domain,)
        for owner in self.owners.keys() - owners.keys():
            self.put(owner, None)
        for owner, records in owners.items():
            try:
                self.put(owner, records)
            except ValueError as error:
                problems.append(f"{owner}: {error}")
        self.loaded = True
        return problems

    def put(self, owner: str, records: Sequence[TextRecord] | None) -> None:
        """Replaces one owner's records. Raises ValueError, and changes nothing, for a record that is not valid."""
        fresh = [(name.lower(), kind, _encode(kind, data)) for name, kind, *data in records or ()]
        for name, kind, *data in self.owners.pop(owner, ()):
            self._remove(name.lower(), kind, _encode(kind, data))
        for name, kind, wire in fresh:
            self._add(name, kind, wire)
        if records:
            self.owners[owner] = list(records)

    def zone_of(self, name: str) -> str | None:
        """The zone that a name is in, None for a name to be resolved elsewhere."""
        for zone in self.zones:
            if name == zone or name.endswith("." + zone):
                return zone
        return None

    def answer(self, name: str, kind: int) -> Answer:
        """The answer for a name in one of the zones."""
        answers: list[Record] = []
        for _ in range(_MOST_CHASED):
            zone = self.zone_of(name)
            if zone is None:
                return Answer(message.NOERROR, answers, [], [], outside=name)
            data = self._find(name)
            if data is None:
                code = message.NXDOMAIN if not answers else message.NOERROR
                return Answer(code, answers, [_soa(zone)], [])
            alias = data.get(message.CNAME)
            if alias is None or kind == message.CNAME:
                return self._complete(zone, name, kind, data, answers)
            (target,) = alias
            answers.append(Record(name, message.CNAME, TTL, target))
            name, _ = message.read_name(target, 0)
        return Answer(message.SERVFAIL, [], [], [])

    def _complete(
        self, zone: str, name: str, kind: int, data: Mapping[int, Iterable[bytes]], answers: list[Record]
    ) -> Answer:
        kinds = list(data) if kind == message.ANY else [kind]
        found = [Record(name, k, TTL, wire) for k in kinds for wire in data.get(k, ())]
        if name == zone and kind in (message.SOA, message.ANY):
            found.append(_soa(zone))
        if not found:
            return Answer(message.NOERROR, answers, [_soa(zone)], [])
        random.shuffle(found)
        return Answer(message.NOERROR, answers + found, [], self._targets(found))

    def _targets(self, records: Sequence[Record]) -> list[Record]:
        """The addresses of what SRV records name."""
        names = dict.fromkeys(message.read_name(r.data, 6)[0] for r in records if r.type == message.SRV)
        return [
            Record(name, kind, TTL, wire)
            for name in names
            for kind in (message.A, message.AAAA)
            for wire in (self._data.get(name) or {}).get(kind, ())
        ]

    def _find(self, name: str) -> Mapping[int, Iterable[bytes]] | None:
        data = self._data.get(name)
        if data is not None:
            return data
        if name in self._names or name in self.zones:
            return {}
        if name.endswith(".pod." + self.domain):
            match = _POD.fullmatch(name.removesuffix("." + self.domain))
            if match and all(int(part) < 256 for part in match.groups()):
                return {message.A: (bytes(int(part) for part in match.groups()),)}
            return _pod_of_ipv6(name.removesuffix("." + self.domain))
        return None

    def _add(self, name: str, kind: str, wire: bytes) -> None:
        for above in _with_parents(name):
            self._names[above] = self._names.get(above, 0) + 1
        if kind != "NAME":
            entries = self._data.setdefault(name, {}).setdefault(message.TYPES[kind], {})
            entries[wire] = entries.get(wire, 0) + 1

    def _remove(self, name: str, kind: str, wire: bytes) -> None:
        for above in _with_parents(name):
            self._names[above] -= 1
            if not self._names[above]:
                del self._names[above]
        if kind != "NAME":
            kinds = self._data[name]
            entries = kinds[message.TYPES[kind]]
            entries[wire] -= 1
            if not entries[wire]:
                del entries[wire]
            if not entries:
                del kinds[message.TYPES[kind]]
            if not kinds:
                del self._data[name]


def _pod_of_ipv6(name: str) -> Mapping[int, Iterable[bytes]] | None:
    """The address that a name such as `fd00--5.shop.pod` is made of."""
    match = _POD_IPV6.fullmatch(name)
    if match is None:
        return None
    try:
        return {message.AAAA: (socket.inet_pton(socket.AF_INET6, match[1].replace("-", ":")),)}
    except OSError:
        return None


def _with_parents(name: str) -> Iterable[str]:
    labels = name.split(".")
    return (".".join(labels[start:]) for start in range(len(labels)))


def _soa(zone: str) -> Record:
    names = encode_name(f"ns.dns.{zone}") + encode_name(f"hostmaster.{zone}")
    return Record(zone, message.SOA, TTL, names + struct.pack("!5I", 1, 7200, 1800, 86400, TTL))


def _encode(kind: str, data: Sequence[str]) -> bytes:
    if kind == "NAME":
        return b""
    (text,) = data
    if kind == "A":
        try:
            return socket.inet_aton(text)
        except OSError:
            raise ValueError(f"{text!r} is not an IPv4 address") from None
    if kind == "AAAA":
        try:
            return socket.inet_pton(socket.AF_INET6, text)
        except OSError:
            raise ValueError(f"{text!r} is not an IPv6 address") from None
    if kind in ("CNAME", "PTR"):
        return encode_name(text)
    if kind == "SRV":
        priority, weight, port, target = text.split()
        return struct.pack("!3H", int(priority), int(weight), int(port)) + encode_name(target)
    if kind == "TXT":
        raw = text.encode()
        return bytes((len(raw),)) + raw
    raise ValueError(f"records of type {kind!r} are not served")
