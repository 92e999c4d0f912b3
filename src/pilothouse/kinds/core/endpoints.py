"""Endpoints (what came before EndpointSlices; deprecated since 1.33)."""

from __future__ import annotations

from typing import ClassVar

from pilothouse.kinds.columns import AGE, NAME, NONE, Column
from pilothouse.kinds.kind import Kind
from pilothouse.kinds.view import Object
from pilothouse.machinery.objects import Obj, Resource


class Endpoints(Object):
    resource: ClassVar[Resource] = Resource("", "v1", "Endpoints", "endpoints", True)


_SHOWN = 3


def _endpoints(obj: Obj) -> str:
    """`10.0.0.1:80,10.0.0.2:80`, three at most."""
    found: list[str] = []
    for subset in obj.get("subsets") or ():
        ips = [address.get("ip", "") for address in subset.get("addresses") or ()]
        ports = [port.get("port") for port in subset.get("ports") or ()]
        found += [join_host_port(ip, port) for port in ports for ip in ips] if ports else ips
    more = f" + {len(found) - _SHOWN} more..." if len(found) > _SHOWN else ""
    return ",".join(found[:_SHOWN]) + more if found else NONE


def join_host_port(host: str, port: int) -> str:
    """`10.0.0.1:80`, `[fd00::1]:80`."""
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


KIND = Kind(
    view=Endpoints,
    short_names=("ep",),
    columns=(NAME, Column("Endpoints", _endpoints, "Addresses with their ports."), AGE),
)
