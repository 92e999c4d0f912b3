"""The Endpoints of a Service."""

from __future__ import annotations

import pytest

from pilothouse.controllers.endpoints.decide import decide
from pilothouse.kinds.core.service import Service
from pilothouse.kinds.discovery.endpoint_slice import EndpointSlice
from pilothouse.kinds.view import from_tree

SLICES = [
    from_tree(
        EndpointSlice,
        {"addressType": family, "ports": [{"port": 80}], "endpoints": [{"addresses": [address]}]},
    )
    for family, address in (("IPv4", "10.0.0.1"), ("IPv6", "fd00::1"))
]


@pytest.mark.parametrize(
    ("families", "expected"), [([], "10.0.0.1"), (["IPv4", "IPv6"], "10.0.0.1"), (["IPv6", "IPv4"], "fd00::1")]
)
def test_only_addresses_of_the_first_family(families: list[str], expected: str) -> None:
    service: Service = from_tree(Service, {"metadata": {"name": "web"}, "spec": {"ipFamilies": families}})
    (subset,) = decide(service, SLICES).subsets
    assert [address.ip for address in subset.addresses] == [expected]
