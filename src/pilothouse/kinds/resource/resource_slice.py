"""ResourceSlice."""

from __future__ import annotations

from typing import ClassVar

from pilothouse.kinds.columns import AGE, NAME, UNSET, Column, field
from pilothouse.kinds.kind import Kind
from pilothouse.kinds.problems import section
from pilothouse.kinds.view import Object
from pilothouse.machinery.objects import Resource


class ResourceSlice(Object):
    resource: ClassVar[Resource] = Resource("resource.k8s.io", "v1", "ResourceSlice", "resourceslices", False)


KIND = Kind(
    view=ResourceSlice,
    columns=(
        NAME,
        Column("Node", field("spec", "nodeName", default=UNSET), "Node whose devices these are."),
        Column("Driver", field("spec", "driver"), "Driver of the devices."),
        Column("Pool", field("spec", "pool", "name"), "Pool the devices are in."),
        AGE,
    ),
    generation_fields=("spec",),
    fields=lambda obj: {f"spec.{key}": section(obj, "spec").get(key) or "" for key in ("driver", "nodeName")},
    returns_deleted=True,
)
