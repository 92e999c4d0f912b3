"""IPAddress."""

from __future__ import annotations

from ipaddress import ip_address
from typing import ClassVar

from pilothouse.kinds.columns import NAME, NONE, Column
from pilothouse.kinds.kind import Kind
from pilothouse.kinds.problems import section
from pilothouse.kinds.view import Object
from pilothouse.machinery.objects import Obj, Resource


class IPAddress(Object):
    resource: ClassVar[Resource] = Resource("networking.k8s.io", "v1", "IPAddress", "ipaddresses", False)


def _parent(obj: Obj) -> str:
    """`services/default/kubernetes`."""
    found = section(section(obj, "spec"), "parentRef")
    if not found:
        return NONE
    resource = str(found.get("resource", ""))
    parts = [
        f"{resource}.{found['group']}" if found.get("group") else resource,
        found.get("namespace"),
        found.get("name"),
    ]
    return "/".join(str(part) for part in parts if part)


def _address(name: str) -> list[str]:
    """Its name is the address, written the one right way."""
    try:
        canonical = str(ip_address(name))
    except ValueError:
        return ["must be a valid IP address, (e.g. 10.9.8.7 or 2001:db8::ffff)"]
    return [] if canonical == name else [f'must be in canonical form ("{canonical}")']


KIND = Kind(
    view=IPAddress,
    short_names=("ip",),
    columns=(NAME, Column("ParentRef", _parent, "What the address belongs to.")),
    name_rule=_address,
    fields=lambda obj: {
        f"spec.parentRef.{key}": section(section(obj, "spec"), "parentRef").get(key) or ""
        for key in ("group", "resource", "namespace", "name")
    },
)
