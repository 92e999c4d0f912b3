"""Answers kept, aged and let go."""

from __future__ import annotations

import dnslib

from pilothouse.dns.cache import Cache
from pilothouse.dns.message import Query, parse_query


class Clock:
    now = 1000.0

    def __call__(self) -> float:
        return self.now


def query(name: str, number: int = 1) -> Query:
    record = dnslib.DNSRecord.question(name)
    record.header.id = number
    return parse_query(record.pack())


def answer(asked: Query, *records: str, code: int = 0, authority: str = "") -> bytes:
    reply = dnslib.DNSRecord.parse(asked.wire).reply()
    reply.header.rcode = code
    for record in records:
        reply.add_answer(*dnslib.RR.fromZone(record))
    if authority:
        reply.add_auth(*dnslib.RR.fromZone(authority))
    packed: bytes = reply.pack()
    return packed


def test_an_answer_ages_and_takes_the_questions_number_and_spelling() -> None:
    clock = Clock()
    cache = Cache(clock)
    first = query("www.example.org")
    cache.put(first, answer(first, "www.example.org 60 A 192.0.2.1", "www.example.org 40 A 192.0.2.2"))
    clock.now += 10
    found = dnslib.DNSRecord.parse(cache.get(query("WWW.example.org", 77)))
    assert found.header.id == 77
    assert str(found.q.qname) == "WWW.example.org."
    assert [rr.ttl for rr in found.rr] == [50, 30]
    clock.now += 30
    assert cache.get(first) is None
    assert len(cache) == 0


def test_negative_answers_are_kept_as_the_soa_says() -> None:
    clock = Clock()
    cache = Cache(clock)
    asked = query("nowhere.example.org")
    cache.put(asked, answer(asked, code=3, authority="example.org 600 SOA a.org. b.org. 1 2 3 4 7"))
    clock.now += 6
    assert cache.get(asked) is not None
    clock.now += 1
    assert cache.get(asked) is None


def test_what_may_not_be_kept() -> None:
    cache = Cache(Clock())
    asked = query("www.example.org")
    cache.put(asked, answer(asked, code=2))
    cache.put(asked, answer(asked, code=3))
    cache.put(asked, answer(asked, "www.example.org 0 A 192.0.2.1"))
    cache.put(asked, answer(asked, "www.example.org 60 A 192.0.2.1")[:-3])
    assert cache.get(asked) is None


def test_the_cache_is_bounded() -> None:
    cache = Cache(Clock(), entries=3, size=10_000)
    for number in range(5):
        asked = query(f"n{number}.example.org")
        cache.put(asked, answer(asked, f"n{number}.example.org 60 A 192.0.2.1"))
    assert len(cache) == 3
    assert cache.get(query("n0.example.org")) is None
    assert cache.get(query("n4.example.org")) is not None
    small = Cache(Clock(), size=100)
    for number in range(5):
        asked = query(f"n{number}.example.org")
        small.put(asked, answer(asked, f"n{number}.example.org 60 A 192.0.2.1"))
    assert len(small) < 3
