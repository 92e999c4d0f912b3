"""Where a node's pods are, by version of IP, as the routes of other nodes need it."""

from __future__ import annotations

from ipaddress import ip_address, ip_network

import pytest

from pilothouse.kinds.view import from_tree
from pilothouse.network.config import Ranges
from pilothouse.network.host import Place, hardware_address
from pilothouse.network.network import node_places
from pilothouse.network.views import NodeView

FOUR = Ranges(4, None, ip_network("10.244.0.0/16"), ip_network("10.96.0.0/16"))
SIX = Ranges(6, None, ip_network("fd00:10:244::/56"), ip_network("fd00:10:96::/112"))


@pytest.mark.parametrize(
    ("versions", "pods", "addresses", "wanted"),
    [
        ((FOUR,), "10.244.1.0/24", "192.0.2.1", "10.244.1.0/24 192.0.2.1"),
        ((FOUR,), "10.244.1.0/24", "fd00::1", ""),
        ((FOUR,), "", "192.0.2.1", ""),
        ((FOUR,), "10.244.1.0/24,fd00:10:244:1::/64", "192.0.2.1,fd00::1", "10.244.1.0/24 192.0.2.1"),
        ((SIX,), "fd00:10:244:1::/64", "fd00::1", "fd00:10:244:1::/64 fd00::1"),
        ((SIX,), "fd00:10:244:1::/64", "192.0.2.1", ""),
        (
            (SIX, FOUR),
            "10.244.1.0/24,fd00:10:244:1::/64",
            "192.0.2.1,fd00::1",
            "fd00:10:244:1::/64 fd00::1 10.244.1.0/24 192.0.2.1",
        ),
        ((FOUR, SIX), "10.244.1.0/24,fd00:10:244:1::/64", "192.0.2.1", "10.244.1.0/24 192.0.2.1 fd00:10:244:1::/64 -"),
        ((SIX, FOUR), "10.244.1.0/24,fd00:10:244:1::/64", "192.0.2.1", ""),
    ],
)
def test_the_places_of_a_node(versions: tuple[Ranges, ...], pods: str, addresses: str, wanted: str) -> None:
    told = [{"type": "InternalIP", "address": address} for address in addresses.split(",")]
    ranges = pods.split(",")
    spec = {"podCIDR": ranges[0], "podCIDRs": ranges} if pods else {}
    node = from_tree(NodeView, {"metadata": {"name": "n1"}, "spec": spec, "status": {"addresses": told}})
    words = wanted.split()
    expected = [
        Place(ip_network(network), None if address == "-" else ip_address(address))
        for network, address in zip(words[::2], words[1::2])
    ]
    assert list(node_places(node, versions)) == expected


def test_the_hardware_address_of_a_tunnel_s_end() -> None:
    assert hardware_address(ip_address("192.0.2.7")).hex(":") == "0e:50:c0:00:02:07"
    six = {hardware_address(ip_address(f"fd00::{number:x}")) for number in range(1, 1000)}
    assert len(six) == 999
    # Unicast, and of the sort that anybody may give out.
    assert all(len(address) == 6 and address[0] & 0b11 == 0b10 for address in six)
