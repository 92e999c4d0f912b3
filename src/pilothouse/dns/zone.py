"""The records of Services, as Kubernetes' DNS specification 1.1 lays down. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from ipaddress import IPv6Address

from pilothouse.kinds.core.service import Service
from pilothouse.kinds.discovery.endpoint_slice import Endpoint, EndpointSlice
from pilothouse.kinds.families import FAMILIES, IPV6, Network, canonical, family_of

TextRecord = tuple[str, ...]
"""Name, type and data, as `records.Records` takes them."""


def zones(domain: str, ranges: Iterable[Network]) -> list[str]:
    """The zones answered with authority: the domain, and the reverse names of the pod and service ranges.

    A range that does not end at a byte (IPv6: at a hexadecimal digit) is covered by the next smaller whole ones.
    """
    found = [domain]
    for network in ranges:
        bits = 8 if network.version == 4 else 4
        whole = (network.prefixlen + bits - 1) // bits * bits
        for part in network.subnets(new_prefix=whole):
            found.append(reverse_name(str(part.network_address), whole // bits))
    return found


def cluster_records(domain: str) -> list[TextRecord]:
    """The records that belong to no Service."""
    return [(f"dns-version.{domain}", "TXT", "1.1.0"), (f"svc.{domain}", "NAME"), (f"pod.{domain}", "NAME")]


def service_records(service: Service, slices: Sequence[EndpointSlice], domain: str) -> list[TextRecord]:
    """The records of one Service, of each of its families."""
    name = f"{service.name}.{service.namespace}.svc.{domain}"
    spec = service.spec
    if spec.type == "ExternalName":
        return [(name, "CNAME", spec.external_name.rstrip("."))] if spec.external_name else []
    if spec.cluster_ip == "None":
        return _headless(name, slices)
    records: list[TextRecord] = []
    for address in spec.cluster_ips or ([spec.cluster_ip] if spec.cluster_ip else ()):
        records += [(name, _type(address), address), (reverse_name(address), "PTR", name)]
    if not records:
        return []
    for port in spec.ports:
        if port.name:
            label = f"_{port.name}._{port.protocol.lower()}.{name}"
            records.append((label, "SRV", f"0 100 {port.port} {name}"))
    return records


def reverse_name(address: str, parts: int | None = None) -> str:
    """The reverse name of an address, or of the range of its first `parts` bytes (IPv6: hexadecimal digits).

    Source: RFC 1035, 3.5 and RFC 3596, 2.5.
    """
    if family_of(address) == IPV6:
        digits = IPv6Address(address).exploded.replace(":", "")
        return ".".join(reversed(digits[:parts])) + ".ip6.arpa"
    return ".".join(reversed(address.split(".")[:parts])) + ".in-addr.arpa"


def _type(address: str) -> str:
    return "AAAA" if family_of(address) == IPV6 else "A"


def _headless(name: str, slices: Sequence[EndpointSlice]) -> list[TextRecord]:
    records: dict[TextRecord, None] = {(name, "NAME"): None}
    for slice_ in slices:
        if slice_.address_type not in FAMILIES:
            continue
        for endpoint in slice_.endpoints:
            if endpoint.conditions.ready is False:
                continue
            for address in endpoint.addresses:
                host = f"{_host(endpoint, address)}.{name}"
                records[name, _type(address), address] = None
                records[host, _type(address), address] = None
                records[reverse_name(address), "PTR", host] = None
                for port in slice_.ports:
                    if port.name and port.port:
                        label = f"_{port.name}._{(port.protocol or 'TCP').lower()}.{name}"
                        records[label, "SRV", f"0 100 {port.port} {host}"] = None
    return list(records)


def _host(endpoint: Endpoint, address: str) -> str:
    return endpoint.hostname or canonical(address).replace(".", "-").replace(":", "-")
