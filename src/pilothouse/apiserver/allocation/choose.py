"""Which address and node ports a Service gets. Pure.

Source: Kubernetes documentation of Services, "Choosing your own IP address", KEP-3070 and KEP-3668: values asked for
come from the lower part of a range by habit, so automatic ones start in the upper part.
"""

from __future__ import annotations

import ipaddress
import random
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from functools import partial
from typing import NamedTuple

from pilothouse.apiserver.allocation.families import fill_in_families
from pilothouse.kinds.families import Network, canonical, families_of, family_of, networks_of
from pilothouse.kinds.networking.ip_address import ALLOCATOR, MANAGED_BY
from pilothouse.kinds.problems import Problems, invalid_error
from pilothouse.machinery.errors import InternalError
from pilothouse.machinery.objects import Obj, Resource

SERVICES = Resource("", "v1", "Service", "services", True)
_TRIES = 64
_RESERVED_ADDRESSES = (16, 256)
_RESERVED_PORTS = (16, 128)


class Ranges(NamedTuple):
    """The service ranges, the configured ones first, and the node ports, first and last."""

    networks: tuple[Network, ...]
    node_ports: tuple[int, int]
    reserved: frozenset[str] = frozenset()
    """Addresses that no Service may have: the cluster's DNS is no Service here, but answers on each node."""

    @classmethod
    def of(cls, service_range: str, node_ports: tuple[int, int], reserved: frozenset[str] = frozenset()) -> Ranges:
        """`service_range` is one network, or one of each family. Raises ValueError for what is none."""
        return cls(networks_of(service_range), node_ports, reserved)

    @property
    def families(self) -> tuple[str, ...]:
        """The cluster's families, the default one first."""
        return families_of(self.networks)

    def with_more(self, texts: Iterable[str]) -> Ranges:
        """Those of ServiceCIDRs besides; what is of another family or known already is left out."""
        networks = list(self.networks)
        for text in texts:
            try:
                network = ipaddress.ip_network(text)
            except ValueError:
                continue
            if network not in networks and family_of(text) in self.families:
                networks.append(network)
        return self._replace(networks=tuple(networks))

    def holding(self, text: str) -> Network | None:
        """A range with that address, None when it is in none (or no address)."""
        try:
            address = ipaddress.ip_address(text)
        except ValueError:
            return None
        return next((network for network in self.networks if address in network), None)

    def of_family(self, family: str) -> Ranges:
        """The ranges of one family."""
        return self._replace(networks=tuple(n for n in self.networks if family_of(str(n)) == family))

    def __str__(self) -> str:
        return ", ".join(map(str, self.networks))


@dataclass(slots=True)
class InUse:
    """What Services hold: addresses by `namespace/name`, node ports by (number, protocol). `others` are addresses that
    something else than a Service has, by its IPAddress."""

    addresses: dict[str, str] = field(default_factory=dict)
    ports: dict[tuple[int, str], str] = field(default_factory=dict)
    others: set[str] = field(default_factory=set)

    def is_free(self, address: str, key: str) -> bool:
        """Whether the Service of that key may have an address."""
        return self.addresses.get(address, key) == key and address not in self.others

    def add(self, service: Obj) -> None:
        key = _key(service)
        for address in addresses_of(service):
            self.addresses[address] = key
        for port in ports_of(service):
            self.ports[port] = key

    def remove(self, service: Obj) -> None:
        key = _key(service)
        for address in addresses_of(service):
            if self.addresses.get(address) == key:
                del self.addresses[address]
        for port in ports_of(service):
            if self.ports.get(port) == key:
                del self.ports[port]


@dataclass(slots=True)
class Foreign:
    """The addresses of IPAddress objects that are not kept for Services."""

    addresses: set[str] = field(default_factory=set)

    def add(self, address: Obj) -> None:
        if (address["metadata"].get("labels") or {}).get(MANAGED_BY) != ALLOCATOR:
            self.addresses.add(address["metadata"]["name"])

    def remove(self, address: Obj) -> None:
        self.addresses.discard(address["metadata"]["name"])


def _key(service: Obj) -> str:
    meta = service["metadata"]
    return f"{meta.get('namespace', '')}/{meta.get('name', '')}"


def addresses_of(service: Obj) -> list[str]:
    """The cluster addresses a Service holds."""
    spec = service.get("spec") or {}
    found = [spec.get("clusterIP"), *(spec.get("clusterIPs") or ())]
    return [canonical(address) for address in dict.fromkeys(found) if address and address != "None"]


def ports_of(service: Obj) -> list[tuple[int, str]]:
    """The node ports a Service holds, with their protocols."""
    spec = service.get("spec") or {}
    found = [(port.get("nodePort") or 0, port.get("protocol") or "TCP") for port in spec.get("ports") or ()]
    health = spec.get("healthCheckNodePort") or 0
    return [port for port in [*found, (health, "TCP")] if port[0]]


def assign(service: Obj, in_use: InUse, ranges: Ranges, old: Obj | None = None) -> None:
    """Fills in the families, addresses and node ports a Service lacks, in place. `old` is the Service before an update.
    Raises Invalid for those it may not have, InternalError when none is left."""
    problems = Problems()
    spec = service.setdefault("spec", {})
    if spec.get("type") == "ExternalName":
        for field_name in ("clusterIP", "clusterIPs", "ipFamilies", "ipFamilyPolicy"):
            spec.pop(field_name, None)
    else:
        before = (old or {}).get("spec") or {}
        same_kind = old is not None and before.get("type") != "ExternalName"
        fill_in_families(spec, before if same_kind else None, ranges.families, problems)
        if not problems:
            _assign_addresses(service, spec, in_use, ranges, problems)
    if spec.get("type") in ("NodePort", "LoadBalancer") and spec.get("allocateLoadBalancerNodePorts", True):
        _assign_ports(service, spec, in_use, ranges, problems)
    for index, text in enumerate(spec.get("externalIPs") or ()):
        if (network := ranges.holding(text)) is not None:
            why = f"may not be in the range of the cluster's own service addresses ({network})"
            problems.invalid(f"spec.externalIPs[{index}]", text, why)
    if problems:
        raise invalid_error(SERVICES, service["metadata"].get("name", ""), problems)


def _assign_addresses(service: Obj, spec: Obj, in_use: InUse, ranges: Ranges, problems: Problems) -> None:
    asked: list[str] = list(spec.get("clusterIPs") or ([spec["clusterIP"]] if spec.get("clusterIP") else ()))
    if asked[:1] == ["None"]:
        spec["clusterIP"], spec["clusterIPs"] = "None", asked
        return
    for index, address in enumerate(asked):
        free = in_use.is_free(canonical(address), _key(service))
        _check_address(address, f"spec.clusterIPs[{index}]", free, ranges, problems)
    for family in (spec.get("ipFamilies") or ranges.families[:1])[len(asked) :]:
        if family in ranges.families:
            asked.append(_free_address(in_use, ranges.of_family(family)))
    if asked:
        spec["clusterIP"], spec["clusterIPs"] = asked[0], asked


def _check_address(asked: str, path: str, free: bool, ranges: Ranges, problems: Problems) -> None:
    try:
        address = ipaddress.ip_address(asked)
    except ValueError:
        problems.invalid(path, asked, "must be a valid IP address, (e.g. 10.9.8.7 or 2001:db8::ffff) or None")
        return
    network = ranges.holding(asked)
    if network is None or not _first(network) <= int(address) <= _last(network):
        ranges = ranges.of_family(family_of(asked))
        problems.invalid(
            path,
            asked,
            f"failed to allocate IP {asked}: the provided IP is not in the valid range. The range of valid IPs is"
            f" {ranges}",
        )
    elif str(address) in ranges.reserved:
        why = "the provided IP is that of the cluster's own DNS, which needs no Service"
        problems.invalid(path, asked, f"failed to allocate IP {asked}: {why}")
    elif not free:
        problems.invalid(path, asked, f"failed to allocate IP {asked}: provided IP is already allocated")


def _free_address(in_use: InUse, ranges: Ranges) -> str:
    for network in ranges.networks:
        for address in _addresses(network):
            if in_use.is_free(address, "") and address not in ranges.reserved:
                return address
    raise InternalError(f"failed to allocate a serviceIP: range is full: every address of {ranges} is in use")


def _first(network: Network) -> int:
    return int(network.network_address) + 1


def _last(network: Network) -> int:
    """IPv6 knows no broadcast."""
    return int(network.broadcast_address) - (1 if network.version == 4 else 0)


def _addresses(network: Network) -> Iterator[str]:
    """Those a Service may have, in the order they are tried."""
    first, last = _first(network), _last(network)
    reserved = min(max(_RESERVED_ADDRESSES[0], network.num_addresses // 16), _RESERVED_ADDRESSES[1])
    if first <= last:
        numbers = _candidates(first, last, first + min(reserved, (last - first) // 2))
        make = ipaddress.IPv4Address if network.version == 4 else ipaddress.IPv6Address
        yield from (str(make(number)) for number in numbers)


def _candidates(first: int, last: int, upper: int) -> Iterator[int]:
    """Some numbers at random, then all: those from `upper` on first."""
    for _ in range(_TRIES):
        yield random.randint(upper, last)
    yield from range(upper, last + 1)
    yield from range(first, upper)


def _assign_ports(service: Obj, spec: Obj, in_use: InUse, ranges: Ranges, problems: Problems) -> None:
    key = _key(service)
    ports: list[Obj] = spec.get("ports") or []
    taken: set[tuple[int, str]] = {(port.get("nodePort") or 0, port.get("protocol") or "TCP") for port in ports}

    def free(number: int, protocol: str) -> bool:
        return in_use.ports.get((number, protocol), key) == key

    for index, port in enumerate(ports):
        number, protocol = port.get("nodePort") or 0, port.get("protocol") or "TCP"
        path = f"spec.ports[{index}].nodePort"
        if number:
            _check_port(number, free(number, protocol), path, ranges.node_ports, problems)
        else:
            port["nodePort"] = _free_port(ports, taken, partial(free, protocol=protocol), protocol, ranges)
    if spec.get("externalTrafficPolicy") == "Local" and spec.get("type") == "LoadBalancer":
        number = spec.get("healthCheckNodePort") or 0
        if number:
            _check_port(number, free(number, "TCP"), "spec.healthCheckNodePort", ranges.node_ports, problems)
        else:
            spec["healthCheckNodePort"] = _free_port(ports, taken, partial(free, protocol="TCP"), "TCP", ranges)


def _check_port(number: int, free: bool, path: str, allowed: tuple[int, int], problems: Problems) -> None:
    low, high = allowed
    if not low <= number <= high:
        problems.invalid(
            path, number, f"provided port is not in the valid range. The range of valid ports is {low}-{high}"
        )
    elif not free:
        problems.invalid(path, number, "provided port is already allocated")


def _free_port(
    ports: Iterable[Obj],
    taken: set[tuple[int, str]],
    free: Callable[[int], bool],
    protocol: str,
    ranges: Ranges,
) -> int:
    low, high = ranges.node_ports
    reserved = min(max(_RESERVED_PORTS[0], (high - low + 1) // 32), _RESERVED_PORTS[1])
    for number in _candidates(low, high, low + min(reserved, (high - low) // 2)):
        if (number, protocol) not in taken and free(number):
            taken.add((number, protocol))
            return number
    raise InternalError(f"failed to allocate a nodePort: range is full: every port of {low}-{high} is in use")
