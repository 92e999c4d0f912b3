"""IPAddress.

Source of the rules: KEP-1880 and the validation of networking/v1.
"""

from __future__ import annotations

from ipaddress import ip_address
from typing import ClassVar

import msgspec

from pilothouse.kinds.columns import NAME, NONE, Column
from pilothouse.kinds.kind import Kind
from pilothouse.kinds.problems import Problems, section
from pilothouse.kinds.view import Object, View
from pilothouse.machinery import names
from pilothouse.machinery.objects import Obj, Resource

MANAGED_BY = "ipaddress.kubernetes.io/managed-by"
FAMILY = "ipaddress.kubernetes.io/ip-family"
ALLOCATOR = "ipallocator.k8s.io"
"""Who keeps the addresses of Services; those of others are theirs, and no Service gets them."""


class ParentReference(View):
    group: str = ""
    resource: str = ""
    namespace: str = ""
    name: str = ""


class IPAddressSpec(View):
    parent_ref: ParentReference | None = None


class IPAddress(Object):
    resource: ClassVar[Resource] = Resource("networking.k8s.io", "v1", "IPAddress", "ipaddresses", False)

    spec: IPAddressSpec = msgspec.field(default_factory=IPAddressSpec)


def _check(obj: Obj, old: Obj | None, problems: Problems) -> None:
    spec = section(obj, "spec")
    if old is not None:
        problems.immutable("spec.parentRef", spec.get("parentRef"), section(old, "spec").get("parentRef"))
        return
    reference = spec.get("parentRef")
    if reference is None:
        problems.required("spec.parentRef")
        return
    if reference.get("group"):
        problems.invalid_each("spec.parentRef.group", reference["group"], names.dns1123_subdomain(reference["group"]))
    for key in ("resource", "name", "namespace"):
        if reference.get(key):
            problems.invalid_each(f"spec.parentRef.{key}", reference[key], names.path_segment(reference[key]))
        elif key != "namespace":
            problems.required(f"spec.parentRef.{key}")


def _parent(obj: Obj) -> str:
    """`services/default/kubernetes`."""
    found = section(section(obj, "spec"), "parentRef")
    if not found:
        return NONE
    resource = str(found.get("resource", "")).lower()
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
    rules=_check,
    fields=lambda obj: {
        f"spec.parentRef.{key}": section(section(obj, "spec"), "parentRef").get(key) or ""
        for key in ("group", "resource", "namespace", "name")
    },
)
