"""NetworkPolicy as its documentation reads, on plain trees: slow, obvious, and sharing no code with what it judges."""

from __future__ import annotations

import ipaddress
from dataclasses import dataclass, field
from typing import Any

Tree = dict[str, Any]


@dataclass(frozen=True)
class Place:
    """A pod, or an address outside (without namespace). `ports` maps the names of TCP and UDP ports."""

    name: str
    address: str
    namespace: str = ""
    labels: dict[str, str] = field(default_factory=dict)
    ports: dict[tuple[str, str], int] = field(default_factory=dict)


@dataclass(frozen=True)
class World:
    namespaces: dict[str, dict[str, str]]
    policies: list[Tree]


def permits(world: World, source: Place, destination: Place, protocol: str, port: int) -> bool:
    """Whether a new connection is allowed: by the egress of its source and by the ingress of its destination."""
    return _side(world, "Egress", source, destination, destination, protocol, port) and _side(
        world, "Ingress", destination, source, destination, protocol, port
    )


def _side(world: World, kind: str, subject: Place, peer: Place, target: Place, protocol: str, port: int) -> bool:
    if not subject.namespace:
        return True
    isolated = False
    for policy in world.policies:
        spec = policy["spec"]
        if policy["metadata"]["namespace"] != subject.namespace or not _selects(spec["podSelector"], subject.labels):
            continue
        kinds = spec.get("policyTypes") or (["Ingress", "Egress"] if spec.get("egress") else ["Ingress"])
        if kind not in kinds:
            continue
        isolated = True
        for rule in spec.get(kind.lower()) or []:
            peers = rule.get("from" if kind == "Ingress" else "to") or []
            ports = rule.get("ports") or []
            peer_fits = not peers or any(_peer(world, policy, p, peer) for p in peers)
            port_fits = not ports or any(_port(p, target, protocol, port) for p in ports)
            if peer_fits and port_fits:
                return True
    return not isolated


def _peer(world: World, policy: Tree, peer: Tree, other: Place) -> bool:
    if "ipBlock" in peer:
        address = ipaddress.ip_address(other.address)
        block = peer["ipBlock"]
        inside = address in ipaddress.ip_network(block["cidr"])
        return inside and not any(address in ipaddress.ip_network(cidr) for cidr in block.get("except", []))
    if not other.namespace:
        return False
    if "namespaceSelector" in peer:
        if not _selects(peer["namespaceSelector"], world.namespaces[other.namespace]):
            return False
    elif other.namespace != policy["metadata"]["namespace"]:
        return False
    return "podSelector" not in peer or _selects(peer["podSelector"], other.labels)


def _port(port: Tree, target: Place, protocol: str, number: int) -> bool:
    if port.get("protocol", "TCP") != protocol:
        return False
    wanted = port.get("port")
    if wanted is None:
        return True
    if isinstance(wanted, str):
        return target.ports.get((wanted, protocol)) == number
    return bool(wanted <= number <= port.get("endPort", wanted))


def _selects(selector: Tree, labels: dict[str, str]) -> bool:
    for key, value in selector.get("matchLabels", {}).items():
        if labels.get(key) != value:
            return False
    for term in selector.get("matchExpressions", []):
        key, operator, values = term["key"], term["operator"], term.get("values", [])
        fits = {
            "In": labels.get(key) in values,
            "NotIn": labels.get(key) not in values,
            "Exists": key in labels,
            "DoesNotExist": key not in labels,
        }[operator]
        if not fits:
            return False
    return True
