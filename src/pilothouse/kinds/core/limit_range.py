"""LimitRange."""

from __future__ import annotations

from typing import ClassVar

from pilothouse.kinds.columns import NAME, Column, field
from pilothouse.kinds.kind import Kind
from pilothouse.kinds.view import Object
from pilothouse.machinery.objects import Resource


class LimitRange(Object):
    resource: ClassVar[Resource] = Resource("", "v1", "LimitRange", "limitranges", True)


KIND = Kind(
    view=LimitRange,
    short_names=("limits",),
    columns=(
        NAME,
        Column("Created At", field("metadata", "creationTimestamp"), "When the object was created.", type="date"),
    ),
)
