"""CSINode."""

from __future__ import annotations

from typing import ClassVar

from pilothouse.kinds.columns import AGE, NAME, Column
from pilothouse.kinds.kind import Kind
from pilothouse.kinds.problems import section
from pilothouse.kinds.view import Object
from pilothouse.machinery.objects import Resource


class CSINode(Object):
    resource: ClassVar[Resource] = Resource("storage.k8s.io", "v1", "CSINode", "csinodes", False)


KIND = Kind(
    view=CSINode,
    columns=(
        NAME,
        Column("Drivers", lambda obj: len(section(obj, "spec").get("drivers") or ()), "Drivers on it.", type="integer"),
        AGE,
    ),
    returns_deleted=True,
)
