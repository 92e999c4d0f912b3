"""EndpointSlice."""

from __future__ import annotations

import ipaddress
from typing import ClassVar

import msgspec

from pilothouse.kinds.columns import AGE, NAME, UNSET, Column, field
from pilothouse.kinds.core.container_validation import PROTOCOLS
from pilothouse.kinds.core.object_reference import ObjectReference
from pilothouse.kinds.kind import Kind
from pilothouse.kinds.problems import Problems
from pilothouse.kinds.view import Object, View
from pilothouse.machinery import names
from pilothouse.machinery.objects import Obj, Resource


class EndpointConditions(View):
    """None means unknown; readers take unknown `ready` and `serving` as true, unknown `terminating` as false."""

    ready: bool | None = None
    serving: bool | None = None
    terminating: bool | None = None


class ForZone(View):
    name: str = ""


class ForNode(View):
    name: str = ""


class EndpointHints(View):
    for_zones: list[ForZone] = []
    for_nodes: list[ForNode] = []


class Endpoint(View):
    addresses: list[str] = []
    conditions: EndpointConditions = msgspec.field(default_factory=EndpointConditions)
    hostname: str | None = None
    target_ref: ObjectReference | None = None
    node_name: str | None = None
    zone: str | None = None
    hints: EndpointHints | None = None


class EndpointPort(View):
    """A port None means all ports."""

    name: str | None = None
    protocol: str | None = None
    port: int | None = None
    app_protocol: str | None = None


class EndpointSlice(Object):
    resource: ClassVar[Resource] = Resource("discovery.k8s.io", "v1", "EndpointSlice", "endpointslices", True)

    address_type: str = ""
    endpoints: list[Endpoint] = []
    ports: list[EndpointPort] = []


_ADDRESS_TYPES = ("FQDN", "IPv4", "IPv6")
_MAX_ENDPOINTS, _MAX_ADDRESSES, _MAX_PORTS = 1000, 100, 20000
_SHOWN = 3


def _defaults(obj: Obj) -> None:
    for port in obj.get("ports") or ():
        port.setdefault("name", "")
        port.setdefault("protocol", "TCP")


def _rules(obj: Obj, old: Obj | None, problems: Problems) -> None:
    address_type = obj.get("addressType")
    problems.one_of("addressType", address_type, _ADDRESS_TYPES)
    if old is not None:
        problems.immutable("addressType", address_type, old.get("addressType"))
    endpoints, ports = obj.get("endpoints") or [], obj.get("ports") or []
    if len(endpoints) > _MAX_ENDPOINTS:
        problems.too_many("endpoints", len(endpoints), _MAX_ENDPOINTS)
    elif old is None or endpoints != old.get("endpoints"):
        for index, endpoint in enumerate(endpoints):
            _check_endpoint(endpoint, address_type or "", f"endpoints[{index}]", problems)
    if len(ports) > _MAX_PORTS:
        problems.too_many("ports", len(ports), _MAX_PORTS)
    else:
        _check_ports(ports, problems)


def _check_endpoint(endpoint: Obj, address_type: str, path: str, problems: Problems) -> None:
    addresses = endpoint.get("addresses") or []
    if not addresses:
        problems.required(f"{path}.addresses", "must contain at least 1 address")
    elif len(addresses) > _MAX_ADDRESSES:
        problems.too_many(f"{path}.addresses", len(addresses), _MAX_ADDRESSES)
    for index, address in enumerate(addresses):
        at = f"{path}.addresses[{index}]"
        if address_type == "FQDN":
            problems.invalid_each(at, address, names.dns1123_subdomain(address))
        elif address_type in _ADDRESS_TYPES:
            _check_address(address, address_type, at, problems)
    if node := endpoint.get("nodeName"):
        problems.invalid_each(f"{path}.nodeName", node, names.dns1123_subdomain(node))
    if hostname := endpoint.get("hostname"):
        problems.invalid_each(f"{path}.hostname", hostname, names.dns1123_label(hostname))


def _check_address(text: str, address_type: str, path: str, problems: Problems) -> None:
    try:
        address = ipaddress.ip_address(text)
    except ValueError:
        problems.invalid(path, text, "must be a valid IP address, (e.g. 10.9.8.7 or 2001:db8::ffff)")
        return
    if f"IPv{address.version}" != address_type:
        problems.invalid(path, text, f"must be an {address_type} address")
    for wrong, why in (
        (address.is_unspecified, "may not be unspecified"),
        (address.is_loopback, "may not be in the loopback range (127.0.0.0/8, ::1/128)"),
        (address.is_link_local, "may not be in the link-local range (169.254.0.0/16, fe80::/10)"),
        (address.is_multicast, "may not be in the multicast range (224.0.0.0/4, ff00::/8)"),
    ):
        if wrong:
            problems.invalid(path, text, why)


def _check_ports(ports: list[Obj], problems: Problems) -> None:
    seen: set[str] = set()
    for index, port in enumerate(ports):
        name = port.get("name") or ""
        if name in seen:
            problems.duplicate(f"ports[{index}].name", name)
        seen.add(name)
        if name:
            problems.invalid_each(f"ports[{index}].name", name, names.dns1123_label(name))
        problems.one_of(f"ports[{index}].protocol", port.get("protocol"), PROTOCOLS)


def _some(values: list[str]) -> str:
    """The first few of a list, and how many more there are."""
    if not values:
        return UNSET
    text = ",".join(values[:_SHOWN])
    return f"{text} + {len(values) - _SHOWN} more..." if len(values) > _SHOWN else text


def _ports(obj: Obj) -> str:
    return _some([str(port.get("port", port.get("name", "*"))) for port in obj.get("ports") or ()])


def _endpoints(obj: Obj) -> str:
    return _some([address for endpoint in obj.get("endpoints") or () for address in endpoint.get("addresses") or ()])


KIND = Kind(
    view=EndpointSlice,
    columns=(
        NAME,
        Column("AddressType", field("addressType"), "IPv4, IPv6 or FQDN."),
        Column("Ports", _ports, "Ports of its endpoints."),
        Column("Endpoints", _endpoints, "Addresses of its endpoints."),
        AGE,
    ),
    generation_fields=("addressType", "endpoints", "ports"),
    defaults=_defaults,
    rules=_rules,
)
