"""The EndpointSlices of one Service, decided from its pods and the slices there are. Pure.

Endpoints stay in the slice they are in, so that a changed pod rewrites one slice and not all.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType

from pilothouse.controllers.pods import is_ready, is_terminal
from pilothouse.controllers.slices import FROM_PODS, HEADLESS, MANAGED_BY, SERVICE_NAME
from pilothouse.kinds.core.object_reference import ObjectReference
from pilothouse.kinds.core.pod import Pod
from pilothouse.kinds.core.service import Service, ServicePort
from pilothouse.kinds.discovery.endpoint_slice import (
    Endpoint,
    EndpointConditions,
    EndpointHints,
    EndpointPort,
    EndpointSlice,
    ForNode,
    ForZone,
)
from pilothouse.kinds.families import IPV4, family_of

MOST = 100
"""Endpoints in one slice."""

NO_ZONES: Mapping[str, str] = MappingProxyType({})
_SAME_ZONE = ("PreferClose", "PreferSameZone", "PreferSameNode")

Ports = tuple[tuple[str, str, int, str | None], ...]
"""Name, protocol, number and appProtocol of each port: pods with the same numbers share slices."""


@dataclass(frozen=True, slots=True)
class New:
    """A slice to make."""

    address_type: str
    ports: list[EndpointPort]
    endpoints: list[Endpoint]
    labels: dict[str, str]


@dataclass(frozen=True, slots=True)
class Update:
    """A slice whose endpoints or labels change."""

    slice: EndpointSlice
    endpoints: list[Endpoint]
    labels: dict[str, str]


@dataclass(frozen=True, slots=True)
class Plan:
    create: list[New] = field(default_factory=list)
    update: list[Update] = field(default_factory=list)
    delete: list[EndpointSlice] = field(default_factory=list)


def decide(
    service: Service,
    pods: Sequence[Pod],
    slices: Sequence[EndpointSlice],
    lost_nodes: Collection[str] = (),
    zones: Mapping[str, str] = NO_ZONES,
) -> Plan:
    """The plan for a Service with a selector. Pods on `lost_nodes`, which no longer answer, count as not ready.

    `zones` tells the zone of each node that has one.
    """
    labels = _labels(service)
    plan = Plan()
    remaining = [s for s in slices if s.metadata.deletion_timestamp is None]
    for family in service.spec.ip_families or (IPV4,):
        wanted: dict[Ports, dict[str, Endpoint]] = {}
        for pod in pods:
            address = address_of(pod, family)
            if address and not is_terminal(pod):
                endpoint = _endpoint(service, pod, address, lost_nodes, zones)
                wanted.setdefault(_ports(service, pod), {})[address] = endpoint
        if not wanted:
            # One empty slice says "known, and nobody is there".
            wanted[_ports(service, None)] = {}
        for ports, endpoints in sorted(wanted.items()):
            mine = [s for s in remaining if _ports_of(s) == ports and s.address_type == family]
            remaining = [s for s in remaining if s not in mine]
            _fill(plan, family, ports, endpoints, mine, labels)
    plan.delete.extend(remaining)
    return plan


def address_of(pod: Pod, family: str) -> str:
    """A pod's address of one family, "" while it has none."""
    addresses = [entry.ip for entry in pod.status.pod_ips] or [pod.status.pod_ip]
    return next((address for address in addresses if address and family_of(address) == family), "")


def _fill(
    plan: Plan,
    family: str,
    ports: Ports,
    wanted: dict[str, Endpoint],
    slices: list[EndpointSlice],
    labels: dict[str, str],
) -> None:
    left = dict(sorted(wanted.items()))
    kept: list[tuple[EndpointSlice, list[Endpoint]]] = []
    for current in sorted(slices, key=lambda s: s.name):
        stay = [left.pop(e.addresses[0]) for e in current.endpoints if e.addresses and e.addresses[0] in left]
        kept.append((current, stay))
    for _, stay in sorted(kept, key=lambda item: len(item[1]), reverse=True):
        while left and len(stay) < MOST:
            stay.append(left.pop(next(iter(left))))
    used = 0
    for current, stay in kept:
        if not stay and (used or left or any(other for _, other in kept)):
            plan.delete.append(current)
            continue
        used += 1
        if stay != current.endpoints or not labels.items() <= current.metadata.labels.items():
            plan.update.append(Update(current, stay, labels))
    rest = list(left.values())
    for start in range(0, len(rest), MOST):
        plan.create.append(New(family, _port_views(ports), rest[start : start + MOST], labels))
    if not used and not rest:
        plan.create.append(New(family, _port_views(ports), [], labels))


def _labels(service: Service) -> dict[str, str]:
    labels = {**service.metadata.labels, SERVICE_NAME: service.name, MANAGED_BY: FROM_PODS}
    if service.spec.cluster_ip == "None":
        labels[HEADLESS] = ""
    return labels


def _endpoint(
    service: Service, pod: Pod, address: str, lost_nodes: Collection[str], zones: Mapping[str, str]
) -> Endpoint:
    terminating = pod.metadata.deletion_timestamp is not None
    serving = is_ready(pod) and pod.spec.node_name not in lost_nodes
    ready = service.spec.publish_not_ready_addresses or (serving and not terminating)
    named = pod.spec.hostname and pod.spec.subdomain == service.name
    return Endpoint(
        addresses=[address],
        conditions=EndpointConditions(ready=ready, serving=serving, terminating=terminating),
        hostname=pod.spec.hostname if named else None,
        target_ref=ObjectReference(kind="Pod", namespace=pod.namespace, name=pod.name, uid=pod.metadata.uid),
        node_name=pod.spec.node_name or None,
        zone=zones.get(pod.spec.node_name),
        hints=_hints(service.spec.traffic_distribution, pod.spec.node_name, zones) if ready else None,
    )


def _hints(distribution: str | None, node_name: str, zones: Mapping[str, str]) -> EndpointHints | None:
    """For whom an endpoint is meant. Source: the Service API's `trafficDistribution` (KEP-3015)."""
    zone = zones.get(node_name)
    for_zones = [ForZone(zone)] if zone and distribution in _SAME_ZONE else []
    for_nodes = [ForNode(node_name)] if node_name and distribution == "PreferSameNode" else []
    return EndpointHints(for_zones, for_nodes) if for_zones or for_nodes else None


def _ports(service: Service, pod: Pod | None) -> Ports:
    found = []
    for port in service.spec.ports:
        number = target_port(port, pod)
        if number is not None:
            found.append((port.name, port.protocol, number, port.app_protocol))
    return tuple(found)


def target_port(port: ServicePort, pod: Pod | None) -> int | None:
    """The container's port number; None when the pod names no such port (or none is known without a pod)."""
    target = port.target_port
    if target in (None, 0, ""):
        return port.port
    if isinstance(target, int):
        return target
    if pod is None:
        return None
    sidecars = [c for c in pod.spec.init_containers if c.restart_policy == "Always"]
    for container in (*pod.spec.containers, *sidecars):
        for candidate in container.ports:
            if candidate.name == target and candidate.protocol == port.protocol:
                return candidate.container_port
    return None


def _ports_of(current: EndpointSlice) -> Ports:
    return tuple((p.name or "", p.protocol or "TCP", p.port or 0, p.app_protocol) for p in current.ports)


def _port_views(ports: Ports) -> list[EndpointPort]:
    return [
        EndpointPort(name=name, protocol=protocol, port=number, app_protocol=app)
        for name, protocol, number, app in ports
    ]
