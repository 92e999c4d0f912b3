"""VolumeAttributesClass."""

from __future__ import annotations

from typing import ClassVar

from pilothouse.kinds.columns import AGE, NAME, Column, field
from pilothouse.kinds.kind import Kind
from pilothouse.kinds.problems import Problems, section
from pilothouse.kinds.view import Object
from pilothouse.machinery import names
from pilothouse.machinery.objects import Obj, Resource


class VolumeAttributesClass(Object):
    resource: ClassVar[Resource] = Resource(
        "storage.k8s.io", "v1", "VolumeAttributesClass", "volumeattributesclasses", False
    )


_PARAMETERS_MOST, _SIZE_MOST = 512, 256 << 10


def _rules(obj: Obj, old: Obj | None, problems: Problems) -> None:
    """Source: `ValidateVolumeAttributesClass` and its update of Kubernetes' storage validation."""
    if old is not None:
        for key in ("driverName", "parameters"):
            if (obj.get(key) or {}) != (old.get(key) or {}):
                problems.forbidden(key, f"updates to {key} are forbidden.")
    driver, parameters = obj.get("driverName") or "", section(obj, "parameters")
    if not driver:
        problems.required("driverName")
    else:
        problems.invalid_each("driverName", driver, names.label_key(driver.lower()))
    if len(parameters) > _PARAMETERS_MOST:
        problems.too_long("parameters", _PARAMETERS_MOST)
        return
    for key in parameters:
        if not key:
            problems.invalid("parameters", key, "field can not be empty.")
    if sum(len(key) + len(value) for key, value in parameters.items()) > _SIZE_MOST:
        problems.too_long("parameters", _SIZE_MOST)
    if not parameters:
        problems.required("parameters", "must contain at least one key/value pair")


KIND = Kind(
    view=VolumeAttributesClass,
    short_names=("vac",),
    columns=(
        NAME,
        Column("DriverName", field("driverName"), "Driver whose volumes it is for."),
        AGE,
    ),
    rules=_rules,
    returns_deleted=True,
)
