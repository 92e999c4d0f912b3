"""Names, their owners and the answers about them."""

from __future__ import annotations

from ipaddress import IPv6Address

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pilothouse.dns.message import AAAA, CNAME, NOERROR, NXDOMAIN, SERVFAIL, SRV, A
from pilothouse.dns.records import Records


def test_an_alias_within_the_zone_is_followed_and_a_loop_is_not() -> None:
    records = Records("c")
    records.put(
        "x", [["a.c", "CNAME", "b.c"], ["b.c", "A", "10.0.0.1"], ["l.c", "CNAME", "m.c"], ["m.c", "CNAME", "l.c"]]
    )
    found = records.answer("a.c", A)
    assert [(record.name, record.type) for record in found.answers] == [("a.c", CNAME), ("b.c", A)]
    assert records.answer("l.c", A).code == SERVFAIL
    assert records.answer("a.c", AAAA).code == NOERROR


def test_an_alias_out_of_the_zone_is_reported() -> None:
    records = Records("c")
    records.put("x", [["a.c", "CNAME", "example.org"]])
    assert records.answer("a.c", A).outside == "example.org"


def test_a_bad_record_changes_nothing() -> None:
    records = Records("c")
    records.put("x", [["a.c", "A", "10.0.0.1"]])
    with pytest.raises(ValueError, match="nonsense"):
        records.put("x", [["b.c", "A", "10.0.0.2"], ["a.c", "A", "nonsense"]])
    assert records.answer("a.c", A).answers
    assert records.answer("b.c", A).code == NXDOMAIN


def test_addresses_of_ipv6() -> None:
    records = Records("c")
    records.put("x", [["a.c", "AAAA", "fd00::1"], ["_p._tcp.a.c", "SRV", "0 100 80 a.c"]])
    (found,) = records.answer("a.c", AAAA).answers
    assert found.data == IPv6Address("fd00::1").packed
    assert (records.answer("a.c", A).code, records.answer("a.c", A).answers) == (NOERROR, [])
    assert [r.data for r in records.answer("_p._tcp.a.c", SRV).additional] == [found.data]
    (pod,) = records.answer("fd00--5.shop.pod.c", AAAA).answers
    assert pod.data == IPv6Address("fd00::5").packed
    assert records.answer("fd00-5.shop.pod.c", AAAA).code == NXDOMAIN
    with pytest.raises(ValueError, match="is not an IPv6 address"):
        records.put("y", [["b.c", "AAAA", "10.0.0.1"]])


owners = st.sampled_from(["x", "y"])
names = st.sampled_from(["a.c", "b.a.c", "d.c"])
entries = st.lists(st.tuples(names, st.just("A"), st.sampled_from(["10.0.0.1", "10.0.0.2"])), max_size=3)


@given(st.lists(st.tuples(owners, entries), max_size=10))
def test_any_sequence_of_changes_equals_a_fresh_start(steps: list[tuple[str, list[tuple[str, str, str]]]]) -> None:
    changed = Records("c")
    for owner, records in steps:
        changed.put(owner, records)
    fresh = Records("c")
    fresh.replace(["c"], changed.owners)
    for name in ("a.c", "b.a.c", "d.c", "c", "e.c"):
        one, other = changed.answer(name, A), fresh.answer(name, A)
        assert one.code == other.code
        assert sorted(one.answers) == sorted(other.answers)
