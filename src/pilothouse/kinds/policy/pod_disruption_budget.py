"""PodDisruptionBudget."""

from __future__ import annotations

from typing import ClassVar

from pilothouse.kinds.columns import AGE, NAME, Column, field
from pilothouse.kinds.kind import Kind
from pilothouse.kinds.view import Object
from pilothouse.machinery.objects import Resource


class PodDisruptionBudget(Object):
    resource: ClassVar[Resource] = Resource("policy", "v1", "PodDisruptionBudget", "poddisruptionbudgets", True)


KIND = Kind(
    view=PodDisruptionBudget,
    short_names=("pdb",),
    subresources=frozenset({"status"}),
    columns=(
        NAME,
        Column("Min Available", lambda obj: str(field("spec", "minAvailable", default="N/A")(obj)), "Pods to keep."),
        Column(
            "Max Unavailable", lambda obj: str(field("spec", "maxUnavailable", default="N/A")(obj)), "Pods to miss."
        ),
        Column(
            "Allowed Disruptions",
            field("status", "disruptionsAllowed", default=0),
            "Pods that may be evicted now.",
            type="integer",
        ),
        AGE,
    ),
    generation_fields=("spec",),
)
