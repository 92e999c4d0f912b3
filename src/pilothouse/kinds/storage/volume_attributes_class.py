"""VolumeAttributesClass."""

from __future__ import annotations

from typing import ClassVar

from pilothouse.kinds.columns import AGE, NAME, Column, field
from pilothouse.kinds.kind import Kind
from pilothouse.kinds.problems import section
from pilothouse.kinds.view import Object
from pilothouse.machinery.objects import Obj, Resource


class VolumeAttributesClass(Object):
    resource: ClassVar[Resource] = Resource(
        "storage.k8s.io", "v1", "VolumeAttributesClass", "volumeattributesclasses", False
    )


DEFAULT_CLASS = "volumeattributesclass.alpha.kubernetes.io/is-default-class"


def _name(obj: Obj) -> str:
    meta = section(obj, "metadata")
    default = section(meta, "annotations").get(DEFAULT_CLASS) == "true"
    return f"{meta.get('name', '')} (default)" if default else str(meta.get("name", ""))


KIND = Kind(
    view=VolumeAttributesClass,
    short_names=("vac",),
    columns=(
        Column(NAME.name, _name, "Name of the class; the default one is marked.", format="name"),
        Column("DriverName", field("driverName"), "Driver whose volumes it is for."),
        AGE,
    ),
    returns_deleted=True,
)
