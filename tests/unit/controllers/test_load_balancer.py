"""Which addresses a load balancer has."""

from __future__ import annotations

import json
from typing import Any

from pilothouse.controllers.load_balancer.decide import PORTS_IN_USE, Plan, World, decide
from pilothouse.kinds.core.node import Node
from pilothouse.kinds.core.service import Service
from pilothouse.kinds.discovery.endpoint_slice import EndpointSlice
from pilothouse.kinds.view import from_tree


def node(name: str, address: str, ready: str = "True", held: dict[str, str] | None = None, **labels: str) -> Node:
    annotations = {PORTS_IN_USE: json.dumps(held)} if held else {}
    status = {
        "addresses": [{"type": "InternalIP", "address": address}],
        "conditions": [{"type": "Ready", "status": ready}],
    }
    return from_tree(Node, {"metadata": {"name": name, "labels": labels, "annotations": annotations}, "status": status})


def service(name: str = "web", made: str = "2026-01-01T00:00:00Z", port: int = 80, **spec: Any) -> Service:
    metadata = {"name": name, "namespace": "shop", "creationTimestamp": made}
    ports = [{"port": port, "protocol": "TCP"}]
    return from_tree(Service, {"metadata": metadata, "spec": {"type": "LoadBalancer", "ports": ports, **spec}})


NODES = [node("n2", "192.0.2.2"), node("n1", "192.0.2.1"), node("n3", "192.0.2.3", ready="Unknown")]


def test_the_addresses_of_all_ready_nodes() -> None:
    web = service()
    assert decide(web, World([web], NODES)) == Plan(["192.0.2.1", "192.0.2.2"])
    excluded = node("n4", "192.0.2.4")
    excluded.metadata.labels["node.kubernetes.io/exclude-from-external-load-balancers"] = ""
    assert decide(web, World([web], [excluded])).addresses == []


def test_a_service_of_both_families_is_served_on_both_of_a_nodes_addresses() -> None:
    both = node("n1", "192.0.2.1")
    both.status.addresses += node("n1", "2001:db8::1").status.addresses
    for families, expected in (
        (["IPv4", "IPv6"], ["192.0.2.1", "2001:db8::1"]),
        (["IPv6"], ["2001:db8::1"]),
        ([], ["192.0.2.1"]),
    ):
        web = service(ipFamilies=families)
        assert decide(web, World([web], [both])).addresses == expected


def test_a_port_belongs_to_the_older_service() -> None:
    old, young = service("a"), service("b", "2026-01-02T00:00:00Z")
    world = World([young, old], NODES)
    assert decide(old, world).addresses == ["192.0.2.1", "192.0.2.2"]
    assert decide(young, world) == Plan([], "port tcp/80 of the nodes' addresses already belongs to service shop/a")
    assert decide(young, World([young], NODES)).addresses == ["192.0.2.1", "192.0.2.2"]
    udp = service("c", "2026-01-03T00:00:00Z", port=81)
    assert decide(udp, world).addresses == ["192.0.2.1", "192.0.2.2"]


def test_a_node_port_of_another_service_is_not_given_away() -> None:
    ports = [{"port": 80, "nodePort": 30080, "protocol": "TCP"}]
    late = service("late", "2026-02-01T00:00:00Z", type="NodePort")
    late.spec.ports = from_tree(Service, {"spec": {"ports": ports}}).spec.ports
    web = service(port=30080)
    assert "shop/late" in decide(web, World([web, late], NODES)).problem


def test_a_port_held_by_the_host_is_named() -> None:
    web = service()
    nodes = [node("n1", "192.0.2.1", held={"tcp/80": "nginx (pid 7)"}), NODES[0]]
    plan = decide(web, World([web], nodes))
    assert plan.addresses == ["192.0.2.2"]
    assert plan.problem == "port already in use on node n1 (192.0.2.1): tcp/80 by nginx (pid 7)"


def test_local_policy_names_nodes_with_endpoints_only() -> None:
    web = service(externalTrafficPolicy="Local")
    endpoint = {"addresses": ["10.0.0.1"], "nodeName": "n2", "conditions": {"ready": True}}
    slices = [from_tree(EndpointSlice, {"metadata": {"name": "s"}, "endpoints": [endpoint]})]
    assert decide(web, World([web], NODES, slices)) == Plan(["192.0.2.2"])
    assert decide(web, World([web], NODES, [])) == Plan([])


def test_an_address_asked_for_must_be_a_nodes() -> None:
    web = service(loadBalancerIP="192.0.2.2")
    assert decide(web, World([web], NODES)) == Plan(["192.0.2.2"])
    web = service(loadBalancerIP="203.0.113.9")
    assert "no ready node has the address 203.0.113.9" in decide(web, World([web], NODES)).problem


def test_other_classes_and_types_are_left_alone() -> None:
    other = service(loadBalancerClass="example.com/metal")
    assert decide(other, World([other], NODES)) == Plan(None)
    plain = service(type="ClusterIP")
    assert decide(plain, World([plain], NODES)) == Plan(None)
    plain.status.load_balancer.ingress = from_tree(
        Service, {"status": {"loadBalancer": {"ingress": [{"ip": "192.0.2.1"}]}}}
    ).status.load_balancer.ingress
    assert decide(plain, World([plain], NODES)) == Plan([])
