"""ServiceCIDRs and IPAddresses follow the Services, and Services get addresses of every range that is ready."""

from __future__ import annotations

import pytest
from cluster_world import Cluster

from pilothouse.kinds.core.service import Service
from pilothouse.kinds.networking.ip_address import IPAddress
from pilothouse.kinds.networking.service_cidr import ServiceCIDR
from pilothouse.machinery.errors import Invalid
from pilothouse.machinery.objects import Obj


def service(name: str, address: str = "") -> Obj:
    spec: Obj = {"ports": [{"port": 80}]}
    return {"metadata": {"name": name}, "spec": {**spec, "clusterIP": address} if address else spec}


def parents(cluster: Cluster) -> dict[str, str]:
    found = {}
    for address in cluster.all(IPAddress):
        parent = address.spec.parent_ref
        assert parent is not None
        found[address.name] = f"{parent.resource}/{parent.namespace}/{parent.name}"
    return found


async def test_every_address_of_a_service_has_an_object(cluster: Cluster) -> None:
    client = cluster.client
    await client.create_tree(Service.resource, service("a", "10.96.0.10"), "shop")
    await cluster.until(lambda: parents(cluster) == {"10.96.0.10": "services/shop/a"})
    (found,) = cluster.all(IPAddress)
    assert found.metadata.labels == {
        "ipaddress.kubernetes.io/ip-family": "IPv4",
        "ipaddress.kubernetes.io/managed-by": "ipallocator.k8s.io",
    }
    await client.delete(IPAddress, "10.96.0.10")
    await cluster.until(lambda: [a.metadata.uid for a in cluster.all(IPAddress)] not in ([], [found.metadata.uid]))
    await client.delete(Service, "a", "shop")
    # The address is free with the answer to the delete, whatever its object still says.
    await client.create_tree(Service.resource, service("b", "10.96.0.10"), "shop")
    await cluster.until(lambda: parents(cluster) == {"10.96.0.10": "services/shop/b"})
    await client.delete(Service, "b", "shop")
    await cluster.until(lambda: not parents(cluster))


async def test_an_address_that_something_else_has_is_not_given_out(cluster: Cluster) -> None:
    other = {"metadata": {"name": "10.96.0.20"}, "spec": {"parentRef": {"resource": "gateways", "name": "g"}}}
    await cluster.client.create_tree(IPAddress.resource, other)
    with pytest.raises(Invalid, match="provided IP is already allocated"):
        await cluster.client.create_tree(Service.resource, service("a", "10.96.0.20"), "shop")
    await cluster.client.delete(IPAddress, "10.96.0.20")
    await cluster.client.create_tree(Service.resource, service("a", "10.96.0.20"), "shop")


async def test_a_second_range_is_used_and_held_while_it_is(cluster: Cluster) -> None:
    client = cluster.client
    with pytest.raises(Invalid, match=r"not in the valid range.*10\.96\.0\.0/16"):
        await client.create_tree(Service.resource, service("a", "192.0.2.20"), "shop")
    await client.create_tree(ServiceCIDR.resource, {"metadata": {"name": "more"}, "spec": {"cidrs": ["192.0.2.0/24"]}})

    def ready() -> list[tuple[str, str]]:
        return [(c.status, c.reason) for cidr in cluster.all(ServiceCIDR) for c in cidr.status.conditions]

    await cluster.until(lambda: ready() == [("True", "")])
    await client.create_tree(Service.resource, service("a", "192.0.2.20"), "shop")
    await client.delete(ServiceCIDR, "more")
    await cluster.until(lambda: ready() == [("False", "Terminating")])
    with pytest.raises(Invalid, match="not in the valid range"):
        await client.create_tree(Service.resource, service("b", "192.0.2.21"), "shop")
    await client.delete(Service, "a", "shop")
    await cluster.until(lambda: not cluster.all(ServiceCIDR))


async def test_a_range_of_the_other_family_is_said_not_to_be_used(cluster: Cluster) -> None:
    tree = {"metadata": {"name": "six"}, "spec": {"cidrs": ["2001:db8::/64"]}}
    await cluster.client.create_tree(ServiceCIDR.resource, tree)
    await cluster.until(
        lambda: [c.reason for cidr in cluster.all(ServiceCIDR) for c in cidr.status.conditions] == ["IPFamilyNotServed"]
    )
