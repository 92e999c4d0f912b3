"""Scale: how many there are of something, and are to be. It is made of what it scales, and never kept."""

from __future__ import annotations

from typing import ClassVar

from pilothouse.kinds.columns import AGE, NAME, Column, field
from pilothouse.kinds.kind import Kind
from pilothouse.kinds.view import Object
from pilothouse.machinery.objects import Resource


class Scale(Object):
    resource: ClassVar[Resource] = Resource("autoscaling", "v1", "Scale", "scales", True)


KIND = Kind(
    view=Scale,
    columns=(
        NAME,
        Column("Desired", field("spec", "replicas", default=0), "How many are wanted.", type="integer"),
        Column("Available", field("status", "replicas", default=0), "How many there are.", type="integer"),
        AGE,
    ),
)
