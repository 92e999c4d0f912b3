"""Which endpoints a node prefers."""

from __future__ import annotations

import pytest

from pilothouse.kinds.discovery.endpoint_slice import Endpoint, EndpointHints, ForNode, ForZone
from pilothouse.network.topology import hinted


def endpoint(address: str, zone: str = "", node: str = "") -> Endpoint:
    hints = EndpointHints([ForZone(zone)] if zone else [], [ForNode(node)] if node else [])
    return Endpoint(addresses=[address], hints=hints if zone or node else None)


A, B, C = endpoint("a", "east", "n1"), endpoint("b", "east", "n2"), endpoint("c", "west", "n3")


@pytest.mark.parametrize(
    ("endpoints", "node", "zone", "wanted"),
    [
        pytest.param([A, B, C], "n1", "east", ["a"], id="its own node's first"),
        pytest.param([A, B, C], "n9", "east", ["a", "b"], id="then its zone's"),
        pytest.param([A, B, C], "n9", "north", None, id="nobody near: all"),
        pytest.param([A, B, C], "n9", "", None, id="a node without a zone"),
        pytest.param([A, endpoint("d")], "n1", "east", None, id="one without hints: they do not count"),
        pytest.param([A, endpoint("e", "east")], "n1", "east", ["a", "e"], id="one without a node's hint: by zone"),
        pytest.param([], "n1", "east", None, id="nobody"),
    ],
)
def test_hints(endpoints: list[Endpoint], node: str, zone: str, wanted: list[str] | None) -> None:
    found = hinted(endpoints, node, zone)
    assert (None if found is None else [e.addresses[0] for e in found]) == wanted
