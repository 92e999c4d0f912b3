"""The Endpoints of a Service, decided from its EndpointSlices: both always say the same. Pure.

Source of the form: upstream's endpoints controller. Addresses beyond a thousand are left out, the ready ones last.
"""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from pilothouse.controllers.slices import HEADLESS
from pilothouse.kinds.core.endpoints import EndpointAddress, EndpointPort, Endpoints, EndpointSubset
from pilothouse.kinds.core.service import Service
from pilothouse.kinds.discovery.endpoint_slice import Endpoint, EndpointSlice
from pilothouse.kinds.families import IPV4

MOST = 1000
OVER_CAPACITY = "endpoints.kubernetes.io/over-capacity"
MANAGED_BY = "endpoints.kubernetes.io/managed-by"
MANAGER = "endpoint-controller"


class Wanted(msgspec.Struct, frozen=True):
    """What an Endpoints object is to hold."""

    subsets: list[EndpointSubset]
    labels: dict[str, str]
    truncated: bool

    def holds(self, current: Endpoints) -> bool:
        """Whether the object says so already."""
        noted = current.metadata.annotations.get(OVER_CAPACITY) == "truncated"
        return (current.subsets, current.metadata.labels, noted) == (self.subsets, self.labels, self.truncated)


def decide(service: Service, slices: Sequence[EndpointSlice]) -> Wanted:
    """The Endpoints of a Service with a selector: the addresses of its first family."""
    family = next(iter(service.spec.ip_families), IPV4)
    ready: dict[str, list[EndpointAddress]] = {}
    waiting: dict[str, list[EndpointAddress]] = {}
    ports: dict[str, list[EndpointPort]] = {}
    for current in slices:
        if current.address_type != family:
            continue
        found = [
            EndpointPort(name=p.name or "", port=p.port or 0, protocol=p.protocol or "TCP", app_protocol=p.app_protocol)
            for p in current.ports
        ]
        key = repr(sorted(map(repr, found)))
        ports[key] = sorted(found, key=lambda port: (port.name, port.port, port.protocol))
        for endpoint in current.endpoints:
            if endpoint.conditions.ready is not False:
                ready.setdefault(key, []).extend(_addresses(endpoint))
            elif not endpoint.conditions.terminating:
                waiting.setdefault(key, []).extend(_addresses(endpoint))
    left = MOST
    subsets = []
    truncated = sum(map(len, (*ready.values(), *waiting.values()))) > MOST
    for key in sorted(ports):
        here = sorted(ready.get(key, ()), key=lambda address: address.ip)[:left]
        left -= len(here)
        later = sorted(waiting.get(key, ()), key=lambda address: address.ip)[:left]
        left -= len(later)
        if here or later:
            subsets.append(EndpointSubset(addresses=here, not_ready_addresses=later, ports=ports[key]))
    labels = {**service.metadata.labels, MANAGED_BY: MANAGER}
    if service.spec.cluster_ip == "None":
        labels[HEADLESS] = ""
    return Wanted(subsets, labels, truncated)


def _addresses(endpoint: Endpoint) -> list[EndpointAddress]:
    return [
        EndpointAddress(
            ip=address, hostname=endpoint.hostname or "", node_name=endpoint.node_name, target_ref=endpoint.target_ref
        )
        for address in endpoint.addresses
    ]
