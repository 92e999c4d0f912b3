"""The EndpointSlices that say what an Endpoints object says. Pure.

Source of the rules: upstream's EndpointSlice mirroring controller.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from pilothouse.controllers.slices import MANAGED_BY, MIRRORED, SERVICE_NAME
from pilothouse.kinds.core.endpoints import EndpointAddress, Endpoints
from pilothouse.kinds.core.service import Service
from pilothouse.kinds.discovery.endpoint_slice import Endpoint, EndpointConditions, EndpointPort, EndpointSlice

MOST = 1000
"""Addresses of a subset that are mirrored."""
_SKIP = "endpointslice.kubernetes.io/skip-mirror"
_LEADER = "control-plane.alpha.kubernetes.io/leader"
_OURS_NOT = frozenset({"kubernetes.io/service-name", "endpoints.kubernetes.io/managed-by"})


@dataclass(frozen=True, slots=True)
class Copy:
    """A slice as it is to be."""

    address_type: str
    ports: list[EndpointPort]
    endpoints: list[Endpoint]
    labels: dict[str, str]

    def holds(self, current: EndpointSlice) -> bool:
        """Whether a slice says so already."""
        return (
            current.endpoints == self.endpoints
            and self.fits(current)
            and self.labels.items() <= current.metadata.labels.items()
        )

    def fits(self, current: EndpointSlice) -> bool:
        """Whether a slice can be made to say so: its family and ports stay what they are."""
        return current.address_type == self.address_type and current.ports == self.ports


@dataclass(frozen=True, slots=True)
class Plan:
    create: list[Copy] = field(default_factory=list)
    update: list[tuple[EndpointSlice, Copy]] = field(default_factory=list)
    delete: list[EndpointSlice] = field(default_factory=list)


def mirrored(service: Service | None, endpoints: Endpoints | None) -> bool:
    """Whether these Endpoints are people's own and have slices made of them."""
    if service is None or endpoints is None or service.spec.selector:
        return False
    meta = endpoints.metadata
    return meta.labels.get(_SKIP) != "true" and _LEADER not in meta.annotations and not meta.deletion_timestamp


def decide(endpoints: Endpoints, slices: list[EndpointSlice]) -> Plan:
    """The plan for mirrored Endpoints; `slices` are those made before."""
    plan, left = Plan(), sorted(slices, key=lambda s: s.name)
    for copy in _copies(endpoints):
        current = next((s for s in left if copy.holds(s)), None) or next((s for s in left if copy.fits(s)), None)
        if current is None:
            plan.create.append(copy)
            continue
        left.remove(current)
        if not copy.holds(current):
            plan.update.append((current, copy))
    plan.delete.extend(left)
    return plan


def _copies(endpoints: Endpoints) -> list[Copy]:
    labels = {key: value for key, value in endpoints.metadata.labels.items() if key not in _OURS_NOT}
    labels |= {SERVICE_NAME: endpoints.name, MANAGED_BY: MIRRORED}
    copies = []
    for subset in endpoints.subsets:
        ports = [
            EndpointPort(name=p.name, port=p.port, protocol=p.protocol, app_protocol=p.app_protocol)
            for p in subset.ports
        ]
        for family in ("IPv4", "IPv6"):
            found = [_endpoint(a, ready=True) for a in subset.addresses if _family(a) == family]
            found += [_endpoint(a, ready=False) for a in subset.not_ready_addresses if _family(a) == family]
            if found:
                copies.append(Copy(family, ports, found[:MOST], labels))
    return copies


def _family(address: EndpointAddress) -> str:
    return "IPv6" if ":" in address.ip else "IPv4"


def _endpoint(address: EndpointAddress, *, ready: bool) -> Endpoint:
    return Endpoint(
        addresses=[address.ip],
        conditions=EndpointConditions(ready=ready),
        hostname=address.hostname or None,
        target_ref=address.target_ref,
        node_name=address.node_name,
    )
