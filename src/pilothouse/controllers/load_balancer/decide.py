"""Which addresses a Service of type LoadBalancer has, decided from one snapshot. Pure.

The load balancer is the nodes themselves: each answers at the service's port on its own address. A port can belong to
one service only, and not to a port that something else on the host listens on (each node tells, by an annotation).
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from pilothouse.controllers.conditions import find
from pilothouse.kinds.core.node import Node
from pilothouse.kinds.core.service import Service
from pilothouse.kinds.discovery.endpoint_slice import EndpointSlice
from pilothouse.kinds.families import IPV4, family_of

CLASS = "pilothouse.io/node"
"""The `loadBalancerClass` that asks for this controller by name; a Service without a class gets it too."""
PORTS_IN_USE = "pilothouse.io/ports-in-use"
"""Annotation of a node: ports asked for there that others hold, as a JSON object such as {"tcp/80": "nginx"}."""
EXCLUDED = "node.kubernetes.io/exclude-from-external-load-balancers"

Port = tuple[str, int]
"""Protocol in lower case, and number."""


@dataclass(frozen=True, slots=True)
class Plan:
    """`addresses` None: not ours, leave the status; `problem` says why there are fewer than asked for."""

    addresses: list[str] | None
    problem: str = ""


@dataclass(frozen=True, slots=True)
class World:
    services: Sequence[Service]
    nodes: Sequence[Node]
    slices: Sequence[EndpointSlice] = field(default_factory=list)
    """Those of the service decided on."""


def is_ours(service: Service) -> bool:
    """Whether this controller gives the service its addresses."""
    return service.spec.type == "LoadBalancer" and service.spec.load_balancer_class in (None, CLASS)


def decide(service: Service, world: World) -> Plan:
    """The addresses for a service, and why not more."""
    if not is_ours(service):
        foreign = service.spec.type == "LoadBalancer"
        return Plan(None if foreign or not service.status.load_balancer.ingress else [])
    if service.metadata.deletion_timestamp is not None:
        return Plan(None)
    rival = _rival(service, world.services)
    if rival:
        return Plan([], rival)
    chosen, problems = [], []
    wanted = service.spec.load_balancer_ip
    families = service.spec.ip_families or (IPV4,)
    holding = _nodes_with_endpoints(world.slices) if service.spec.external_traffic_policy == "Local" else None
    for node in sorted(world.nodes, key=lambda node: node.name):
        internal = [a.address for a in node.status.addresses if a.type == "InternalIP"]
        found = [address for family in families if (address := _of_family(internal, family))]
        if wanted:
            found = [address for address in found if address == wanted]
        if not found or not _takes_part(node):
            continue
        address = found[0]
        held = [f"{protocol}/{number} by {who}" for (protocol, number), who in _held(node, service)]
        if held:
            problems.append(f"port already in use on node {node.name} ({address}): {', '.join(held)}")
        elif holding is None or node.name in holding:
            chosen += found
    if wanted and not chosen and not problems and holding is None:
        problems.append(f"no ready node has the address {wanted} that spec.loadBalancerIP asks for")
    return Plan(chosen, "; ".join(problems))


def _of_family(addresses: Iterable[str], family: str) -> str:
    return next((address for address in addresses if family_of(address) == family), "")


def claimed(service: Service) -> set[Port]:
    """The ports that a service takes on the nodes' addresses."""
    found = {(port.protocol.lower(), port.node_port) for port in service.spec.ports if port.node_port}
    if is_ours(service):
        found |= {(port.protocol.lower(), port.port) for port in service.spec.ports}
    return found


def _rival(service: Service, services: Iterable[Service]) -> str:
    """Names an older service that has one of the ports; "" if there is none. Node ports come before all."""
    mine = {(port.protocol.lower(), port.port) for port in service.spec.ports}
    for other in sorted(services, key=_age):
        if other.key == service.key or other.metadata.deletion_timestamp is not None:
            continue
        node_ports = {(port.protocol.lower(), port.node_port) for port in other.spec.ports if port.node_port}
        theirs = claimed(other) if _age(other) < _age(service) else node_ports
        for protocol, number in sorted(mine & theirs):
            return f"port {protocol}/{number} of the nodes' addresses already belongs to service {other.key}"
    return ""


def _age(service: Service) -> tuple[str, str]:
    return service.metadata.creation_timestamp or "", service.key


def _takes_part(node: Node) -> bool:
    ready = find(node.status.conditions, "Ready")
    return ready is not None and ready.status == "True" and EXCLUDED not in node.metadata.labels


def _held(node: Node, service: Service) -> list[tuple[Port, str]]:
    try:
        tree = json.loads(node.metadata.annotations.get(PORTS_IN_USE, "{}"))
    except ValueError:
        return []
    named = {str(key): str(value) for key, value in tree.items()} if isinstance(tree, dict) else {}
    ports = [(port.protocol.lower(), port.port) for port in service.spec.ports]
    return [(port, named[f"{port[0]}/{port[1]}"]) for port in ports if f"{port[0]}/{port[1]}" in named]


def _nodes_with_endpoints(slices: Sequence[EndpointSlice]) -> set[str]:
    return {
        endpoint.node_name
        for slice_ in slices
        for endpoint in slice_.endpoints
        if endpoint.node_name and endpoint.conditions.ready is not False
    }
