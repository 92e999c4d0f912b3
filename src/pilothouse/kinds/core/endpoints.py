"""Endpoints (what came before EndpointSlices; deprecated since 1.33)."""

from __future__ import annotations

import ipaddress
from typing import ClassVar

from pilothouse.kinds.columns import AGE, NAME, NONE, Column
from pilothouse.kinds.core.container_validation import PROTOCOLS, check_ip
from pilothouse.kinds.core.object_reference import ObjectReference
from pilothouse.kinds.core.probe_validation import check_port
from pilothouse.kinds.families import join_host_port
from pilothouse.kinds.kind import Kind
from pilothouse.kinds.problems import Problems
from pilothouse.kinds.view import Object, View
from pilothouse.machinery import names
from pilothouse.machinery.objects import Obj, Resource


class EndpointAddress(View):
    ip: str = ""
    hostname: str = ""
    node_name: str | None = None
    target_ref: ObjectReference | None = None


class EndpointPort(View):
    name: str = ""
    port: int = 0
    protocol: str = "TCP"
    app_protocol: str | None = None


class EndpointSubset(View):
    """Each address has each of the ports."""

    addresses: list[EndpointAddress] = []
    not_ready_addresses: list[EndpointAddress] = []
    ports: list[EndpointPort] = []


class Endpoints(Object):
    resource: ClassVar[Resource] = Resource("", "v1", "Endpoints", "endpoints", True)

    subsets: list[EndpointSubset] = []


_LOCAL_MULTICAST = ipaddress.ip_network("224.0.0.0/24")
_SHOWN = 3


def _defaults(obj: Obj) -> None:
    for subset in obj.get("subsets") or ():
        for port in subset.get("ports") or ():
            port.setdefault("protocol", "TCP")


def _rules(obj: Obj, old: Obj | None, problems: Problems) -> None:
    """Source of the wording: upstream's validation of Endpoints."""
    subsets = obj.get("subsets") or []
    if old is not None and subsets == (old.get("subsets") or []):
        return
    for index, subset in enumerate(subsets):
        path = f"subsets[{index}]"
        if not subset.get("addresses") and not subset.get("notReadyAddresses"):
            problems.required(path, "must specify `addresses` or `notReadyAddresses`")
        for key in ("addresses", "notReadyAddresses"):
            for number, address in enumerate(subset.get(key) or ()):
                _check_address(address, f"{path}.{key}[{number}]", problems)
        ports = subset.get("ports") or []
        for number, port in enumerate(ports):
            _check_port(port, f"{path}.ports[{number}]", problems, named=len(ports) > 1)


def _check_address(address: Obj, path: str, problems: Problems) -> None:
    text = address.get("ip") or ""
    check_ip(text, f"{path}.ip", problems)
    if hostname := address.get("hostname"):
        problems.invalid_each(f"{path}.hostname", hostname, names.dns1123_label(hostname))
    if node := address.get("nodeName"):
        problems.invalid_each(f"{path}.nodeName", node, names.dns1123_subdomain(node))
    try:
        ip = ipaddress.ip_address(text)
    except ValueError:
        return
    for wrong, why in (
        (ip.is_unspecified, f"may not be unspecified ({text})"),
        (ip.is_loopback, "may not be in the loopback range (127.0.0.0/8, ::1/128)"),
        (ip.is_link_local, "may not be in the link-local range (169.254.0.0/16, fe80::/10)"),
        (ip in _LOCAL_MULTICAST, "may not be in the link-local multicast range (224.0.0.0/24, ff02::/10)"),
    ):
        if wrong:
            problems.invalid(f"{path}.ip", text, why)


def _check_port(port: Obj, path: str, problems: Problems, *, named: bool) -> None:
    name = port.get("name") or ""
    if named and not name:
        problems.required(f"{path}.name")
    elif name:
        problems.invalid_each(f"{path}.name", name, names.dns1123_label(name))
    check_port(port.get("port", 0), f"{path}.port", problems)
    problems.one_of(f"{path}.protocol", port.get("protocol"), PROTOCOLS)


def _endpoints(obj: Obj) -> str:
    """`10.0.0.1:80,10.0.0.2:80`, three at most; nothing where none is ready."""
    if not obj.get("subsets"):
        return NONE
    found: list[str] = []
    for subset in obj.get("subsets") or ():
        ips = [address.get("ip", "") for address in subset.get("addresses") or ()]
        ports = [port.get("port") for port in subset.get("ports") or ()]
        found += [join_host_port(ip, port) for port in ports for ip in ips] if ports else ips
    more = f" + {len(found) - _SHOWN} more..." if len(found) > _SHOWN else ""
    return ",".join(found[:_SHOWN]) + more


KIND = Kind(
    view=Endpoints,
    warning="v1 Endpoints is deprecated in v1.33+; use discovery.k8s.io/v1 EndpointSlice",
    short_names=("ep",),
    columns=(NAME, Column("Endpoints", _endpoints, "Addresses with their ports."), AGE),
    defaults=_defaults,
    rules=_rules,
    create_on_update=True,
)
