"""ServiceCIDR."""

from __future__ import annotations

from typing import ClassVar

from pilothouse.kinds.columns import AGE, NAME, Column
from pilothouse.kinds.kind import Kind
from pilothouse.kinds.problems import section
from pilothouse.kinds.view import Object
from pilothouse.machinery.objects import Resource


class ServiceCIDR(Object):
    resource: ClassVar[Resource] = Resource("networking.k8s.io", "v1", "ServiceCIDR", "servicecidrs", False)


KIND = Kind(
    view=ServiceCIDR,
    subresources=frozenset({"status"}),
    columns=(NAME, Column("CIDRs", lambda obj: ",".join(section(obj, "spec").get("cidrs") or ()), "Its ranges."), AGE),
)
