"""Services as map elements: from a Service and its EndpointSlices to what the table must hold. Pure.

Which endpoints serve follows Kubernetes' virtual IP reference: the ready ones; if there are none, those that
terminate but still serve; with a Local traffic policy, of this node only; otherwise, those of this node or zone where
the endpoints' hints say so. A frontend without endpoints has no
elements, and packets to it are refused.
"""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Iterable, Sequence
from ipaddress import IPv4Network, IPv6Network, collapse_addresses
from typing import NamedTuple

from pilothouse.kinds.core.service import Service, ServicePort
from pilothouse.kinds.discovery.endpoint_slice import Endpoint, EndpointSlice
from pilothouse.kinds.families import Network, canonical
from pilothouse.network.base import FRONTEND
from pilothouse.network.facts import Check, Contribution, NodeFacts
from pilothouse.network.pods import PodFacts
from pilothouse.network.topology import hinted

_SLOT = 0x50480000
_OUTWARD = 0x00010000
"""The bit of a mark that asks for masquerade on the way out."""
_INSIDE = 0x00040000
"""The bit of a mark for clients in the cluster, where those from outside have other endpoints."""
_IDENTITY = 0x00020000
"""The bit of a mark whose lower half names an endpoint for good, where a slot's number changes with its neighbours."""
_DEFAULT_AFFINITY_SECONDS = 10_800
_UNDERLINED = str.maketrans(".:", "__")
_BURSTS_A_SECOND = 10
_LEAST_BURST = 1 << 18
"""Bytes; TCP hands the kernel up to 64 KiB as one packet, and must be able to send a few of those."""


class Backend(NamedTuple):
    """An endpoint's address and port."""

    address: str
    port: int

    @property
    def text(self) -> str:
        return f"{self.address} . {self.port}"


class Frontend(NamedTuple):
    """An address at which a service is reached, by all clients or (`inside`) by those in the cluster.

    `outward`: packets are masqueraded, so that answers return by this node.
    """

    address: str
    protocol: str
    port: int
    outward: bool = False
    inside: bool = False

    @property
    def text(self) -> str:
        return f"{self.address} . {self.protocol} . {self.port}"

    @property
    def mark(self) -> int:
        """The mark of the first slot."""
        return _SLOT | (_OUTWARD if self.outward else 0) | (_INSIDE if self.inside else 0)


def service_rules(
    service: Service,
    slices: Sequence[EndpointSlice],
    facts: NodeFacts,
    taken: Collection[tuple[str, int]] = (),
) -> Contribution:
    """What the table of one version of IP must hold for one service. Headless and ExternalName services need nothing.

    `taken` are ports (protocol, number) of this node's addresses that belong to others: they stay theirs.
    """
    spec = service.spec
    result = Contribution()
    own = cluster_address(service, facts)
    if spec.type == "ExternalName" or not own or own == facts.dns_address:
        return result
    affinity = _affinity_seconds(service)
    for port in spec.ports:
        for frontend, local in _frontends(service, own, port, facts, taken):
            backends = _backends(slices, port, facts, local)
            if backends:
                balance(result, frontend, backends, affinity)
            elif frontend.address not in facts.addresses and frontend.address != own:
                result.elements["refused", frontend.text] = ""
        _limit_sources(result, service, port, facts)
    return result


def cluster_address(service: Service, facts: NodeFacts) -> str:
    """The service's cluster address of the facts' version of IP, "" for none."""
    addresses = service.spec.cluster_ips or (service.spec.cluster_ip,)
    return next((canonical(address) for address in addresses if facts.holds(address)), "")


def outside_ports(service: Service, facts: NodeFacts) -> set[tuple[str, int]]:
    """The ports (protocol, number) that a service asks for on this node's own addresses, node ports aside."""
    if not any(address in facts.addresses for address in _outside(service, facts)):
        return set()
    return {(port.protocol.lower(), port.port) for port in service.spec.ports}


def health_check(service: Service, slices: Sequence[EndpointSlice], node_name: str) -> tuple[int, Check] | None:
    """The port of the service's `healthCheckNodePort` and what is told there; None where there is none."""
    spec = service.spec
    if spec.type != "LoadBalancer" or spec.external_traffic_policy != "Local" or not spec.health_check_node_port:
        return None
    family = next(iter(spec.ip_families), "IPv4")
    ready = {
        address
        for slice_ in slices
        if slice_.address_type == family
        for endpoint in slice_.endpoints
        if endpoint.node_name == node_name and _readiness(endpoint) == "ready"
        for address in endpoint.addresses
    }
    return spec.health_check_node_port, Check(service.namespace, service.name, len(ready))


def balance(result: Contribution, frontend: Frontend, backends: Sequence[Backend], affinity: int = 0) -> None:
    """Adds to `result` the elements that spread a frontend's new flows evenly over its backends."""
    base = frontend.mark
    name, rules = balancing_chain(len(backends), base, affinity)
    result.chains[name] = rules
    result.elements["inside" if frontend.inside else "services", frontend.text] = f"goto {name}"
    taken: set[int] = set()
    for slot, backend in enumerate(backends):
        result.elements["hairpin", f"{backend.address} . {backend.address}"] = ""
        if affinity:
            identity = _identity(backend, taken) | base | _IDENTITY
            result.elements["identities", f"{frontend.text} . {base + slot}"] = str(identity)
            result.elements["endpoints", f"{frontend.text} . {identity}"] = backend.text
        else:
            result.elements["endpoints", f"{frontend.text} . {base + slot}"] = backend.text


def balancing_chain(count: int, base: int, affinity: int) -> tuple[str, tuple[str, ...]]:
    """The name and the rules of the chain shared by all frontends with that many backends and that first mark.

    `affinity` is in seconds, 0 for none. The second try with slot 0 is for a packet that met the old count
    and the new elements while a change was being committed.
    """
    pick = f"meta mark set numgen random mod {count} offset {base}" if count > 1 else f"meta mark set {base}"
    # dnat to a port needs the protocol matched in the same rule.
    send = tuple(
        f"meta l4proto {protocol} dnat ip to {FRONTEND} . meta mark map @endpoints"
        for protocol in ("tcp", "udp", "sctp")
    )
    name = f"{'out' if base & _OUTWARD else 'in' if base & _INSIDE else 'to'}_{count}"
    if not affinity:
        return name, (pick, *send, f"meta mark set {base}", *send)
    client = f"ip saddr . {FRONTEND}"
    entry = f"{client} timeout {affinity}s : meta mark"
    rules = (
        f"meta mark set {client} map @affinity",
        # The time-out counts from the last flow. Not by delete and add: deleted entries stay in the hash bucket
        # for up to a second, and a bucket with sixteen takes no more.
        f"{FRONTEND} . meta mark @endpoints update @affinity {{ {entry} }}",
        *send,
        f"delete @affinity {{ {client} : meta mark }}",
        pick,
        f"meta mark set {FRONTEND} . meta mark map @identities",
        f"add @affinity {{ {entry} }}",
        *send,
    )
    return f"{name}_stay_{affinity}", rules


def host_port_rules(pod: PodFacts, facts: NodeFacts) -> Contribution:
    """What the table must hold for the host ports of a pod of this node."""
    result = Contribution()
    for port in pod.host_ports:
        for address in (port.address,) if port.address else facts.addresses:
            if not facts.holds(address):
                continue
            balance(result, Frontend(address, port.protocol, port.port), [Backend(pod.address, port.container_port)])
    return result


def pace_rules(pod: PodFacts) -> Contribution:
    """What the table must hold for the bandwidth of a pod of this node: a limit of its own for each direction."""
    result = Contribution()
    for direction, rate in (("in", pod.bandwidth.ingress), ("out", pod.bandwidth.egress)):
        if not rate:
            continue
        bytes_, burst = max(rate // 8, 1), max(rate // 8 // _BURSTS_A_SECOND, _LEAST_BURST)
        name = f"pace_{direction}_{pod.address.translate(_UNDERLINED)}_{bytes_}"
        result.sets[name] = f"limit {name} {{ rate over {bytes_} bytes/second burst {burst} bytes; }}"
        result.elements[f"paced_{direction}", pod.address] = name
    return result


def _outside(service: Service, facts: NodeFacts) -> list[str]:
    """The addresses beside the cluster address: the load balancer's, and those external ones that this node has.

    An external address of anybody else would draw traffic meant for others into the service (CVE-2020-8554).
    """
    external = [address for address in service.spec.external_ips if address in facts.addresses]
    balanced = [entry.ip for entry in service.status.load_balancer.ingress if entry.ip]
    if service.spec.type != "LoadBalancer":
        balanced = []
    return [canonical(address) for address in dict.fromkeys([*external, *balanced]) if facts.holds(address)]


def _limit_sources(result: Contribution, service: Service, port: ServicePort, facts: NodeFacts) -> None:
    """Lets only the ranges of `loadBalancerSourceRanges` reach the load balancer's addresses."""
    limited = service.spec.type == "LoadBalancer" and service.spec.load_balancer_source_ranges
    ranges = _networks(service.spec.load_balancer_source_ranges, facts.version)
    # Ranges of the other version alone let nobody in by IPv6; by IPv4 they do, as ever.
    if not limited or (not ranges and facts.version == 4) or any(not network.prefixlen for network in ranges):
        return
    for entry in service.status.load_balancer.ingress:
        if not facts.holds(entry.ip):
            continue
        frontend = Frontend(canonical(entry.ip), port.protocol.lower(), port.port)
        result.elements["limited", frontend.text] = ""
        for network in ranges:
            whole = network.prefixlen == network.max_prefixlen
            source = str(network.network_address) if whole else str(network)
            result.elements["permitted", f"{source} . {frontend.text}"] = ""


def _networks(texts: Iterable[str], version: int) -> list[Network]:
    """The ranges of one version of IP among those; overlapping ones are joined."""
    if version == 4:
        return list(collapse_addresses(IPv4Network(text.strip(), strict=False) for text in texts if "." in text))
    return list(collapse_addresses(IPv6Network(text.strip(), strict=False) for text in texts if ":" in text))


def _frontends(
    service: Service, own: str, port: ServicePort, facts: NodeFacts, taken: Collection[tuple[str, int]]
) -> Iterable[tuple[Frontend, bool]]:
    """The frontends of a service port, each with whether only this node's endpoints may serve it."""
    spec = service.spec
    protocol = port.protocol.lower()
    yield Frontend(own, protocol, port.port), spec.internal_traffic_policy == "Local"
    local = spec.external_traffic_policy == "Local"
    held = facts.addresses if (protocol, port.port) in taken else ()
    places = [(address, port.port) for address in _outside(service, facts) if address not in held]
    if port.node_port and spec.type in ("NodePort", "LoadBalancer"):
        places += [(address, port.node_port) for address in facts.addresses]
    for address, number in places:
        yield Frontend(address, protocol, number, outward=not local), local
        if local:
            # Clients in the cluster need no local endpoint: their address is kept in any case.
            yield Frontend(address, protocol, number, inside=True), False


def _backends(slices: Sequence[EndpointSlice], port: ServicePort, facts: NodeFacts, local: bool) -> list[Backend]:
    """The endpoints that serve a port; `local`: of this node only, otherwise those that hints prefer."""
    ready: list[Endpoint] = []
    draining: list[Endpoint] = []
    numbers: dict[int, int] = {}
    for slice_ in slices:
        if slice_.address_type != facts.family:
            continue
        number = next(
            (p.port for p in slice_.ports if (p.name or "") == port.name and (p.protocol or "TCP") == port.protocol),
            None,
        )
        if number is None:
            continue
        for endpoint in slice_.endpoints:
            if local and endpoint.node_name != facts.node_name:
                continue
            kind = _readiness(endpoint)
            if kind and endpoint.addresses and facts.holds(endpoint.addresses[0]):
                (ready if kind == "ready" else draining).append(endpoint)
                numbers[id(endpoint)] = number
    near = None if local or not ready else hinted(ready, facts.node_name, facts.zone)
    return sorted({Backend(canonical(e.addresses[0]), numbers[id(e)]) for e in near or ready or draining})


def _readiness(endpoint: Endpoint) -> str:
    conditions = endpoint.conditions
    if conditions.ready is not False:
        return "ready"
    return "draining" if conditions.terminating and conditions.serving is not False else ""


def _affinity_seconds(service: Service) -> int:
    spec = service.spec
    if spec.session_affinity != "ClientIP":
        return 0
    config = spec.session_affinity_config
    seconds = config.client_ip.timeout_seconds if config and config.client_ip else None
    return seconds or _DEFAULT_AFFINITY_SECONDS


def _identity(backend: Backend, taken: set[int]) -> int:
    """A number of 16 bits that stays with a backend, distinct within its service."""
    number = int.from_bytes(hashlib.sha256(backend.text.encode()).digest()[:2], "big")
    while number in taken:
        number = (number + 1) & 0xFFFF
    taken.add(number)
    return number
