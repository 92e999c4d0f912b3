"""VolumeAttributesClass."""

from __future__ import annotations

from typing import ClassVar

from pilothouse.kinds.columns import AGE, NAME, Column, field
from pilothouse.kinds.kind import Kind
from pilothouse.kinds.view import Object
from pilothouse.machinery.objects import Resource


class VolumeAttributesClass(Object):
    resource: ClassVar[Resource] = Resource(
        "storage.k8s.io", "v1", "VolumeAttributesClass", "volumeattributesclasses", False
    )


KIND = Kind(
    view=VolumeAttributesClass,
    short_names=("vac",),
    columns=(
        NAME,
        Column("DriverName", field("driverName"), "Driver whose volumes it is for."),
        AGE,
    ),
    returns_deleted=True,
)
