"""The record of flows: bounded, and the same after it was written and read."""

from __future__ import annotations

import struct
from ipaddress import IPv4Address, IPv6Address

import orjson
from hypothesis import given
from hypothesis import strategies as st

from pilothouse.linux.nflog import Packet, parse
from pilothouse.network import record
from pilothouse.network.pods import PodFacts
from pilothouse.network.policy import Plan
from pilothouse.network.record import Record, load

PODS = {
    f"10.0.0.{n}": PodFacts(f"shop/web-{n}", "shop", f"10.0.0.{n}", {"app": "web", "pod-template-hash": str(n)})
    for n in range(1, 4)
}
addresses = st.sampled_from([*PODS, "192.0.2.1", "192.0.2.2"])
packets = st.builds(
    Packet,
    st.sampled_from(["seen", "ingress", "egress"]),
    addresses,
    addresses,
    st.sampled_from(["tcp", "udp"]),
    st.just(40000),
    st.integers(1, 65535),
)


@given(st.lists(packets, max_size=30))
def test_what_is_written_is_read_again(given_: list[Packet]) -> None:
    made = Record(since=1.0)
    for turn, packet in enumerate(given_):
        made.add(packet, PODS, Plan(), float(turn))
    again = load(orjson.loads(orjson.dumps(made.tree())))
    assert again == made
    assert sum(seen.count for seen in [*made.flows.values(), *made.denials.values()]) == len(given_)


def test_pods_of_a_workload_count_as_one_and_the_oldest_goes() -> None:
    made = Record()
    for address in PODS:
        made.add(Packet("seen", address, "192.0.2.1", "tcp", 1, 443), PODS, Plan(), 1.0)
    ((_, seen),) = made.flows.items()
    assert (seen.count, seen.source) == (3, "shop/web-3")
    for port in range(record.MOST_FLOWS):
        made.add(Packet("seen", "10.0.0.1", "192.0.2.2", "tcp", 1, port), PODS, Plan(), 2.0)
    assert len(made.flows) == record.MOST_FLOWS
    assert made.dropped == 1
    assert not any(key[1].address == "192.0.2.1" for key in made.flows)


def test_packets_are_read() -> None:
    head = bytes((0x46, 0)) + struct.pack("!HHHBBH", 60, 1, 0, 64, 6, 0)
    head += IPv4Address("10.0.0.1").packed + IPv4Address("10.0.0.2").packed + b"\0" * 4
    assert parse("seen", head + struct.pack("!HH", 1234, 80)) == Packet("seen", "10.0.0.1", "10.0.0.2", "tcp", 1234, 80)
    assert parse("seen", head[:10]) is None
    assert parse("seen", head) == Packet("seen", "10.0.0.1", "10.0.0.2", "tcp", 0, 0)


def test_packets_of_ipv6_are_read() -> None:
    head = struct.pack("!IHBB", 6 << 28, 20, 6, 64) + IPv6Address("fd00::1").packed + IPv6Address("fd00::2").packed
    assert parse("seen", head + struct.pack("!HH", 1234, 80)) == Packet("seen", "fd00::1", "fd00::2", "tcp", 1234, 80)
    assert parse("seen", head[:39]) is None


@given(st.binary(max_size=80))
def test_any_bytes_are_read_without_harm(data: bytes) -> None:
    found = parse("x", data)
    assert found is None or 0 <= found.port < 65536
