"""ResourceQuota."""

from __future__ import annotations

from typing import ClassVar

from pilothouse.kinds.columns import AGE, NAME, Column
from pilothouse.kinds.kind import Kind
from pilothouse.kinds.problems import section
from pilothouse.kinds.view import Object
from pilothouse.machinery.objects import Obj, Resource


class ResourceQuota(Object):
    resource: ClassVar[Resource] = Resource("", "v1", "ResourceQuota", "resourcequotas", True)


def _amounts(obj: Obj, limits: bool) -> str:
    """`cpu: 1/2, pods: 3/10`: what is used of what there is, of limits or of all else."""
    status = section(obj, "status")
    hard, used = section(status, "hard"), section(status, "used")
    shown = (
        f"{name}: {used.get(name, 0)}/{hard[name]}" for name in sorted(hard) if name.startswith("limits.") == limits
    )
    return ", ".join(shown)


KIND = Kind(
    view=ResourceQuota,
    short_names=("quota",),
    subresources=frozenset({"status"}),
    columns=(
        NAME,
        Column("Request", lambda obj: _amounts(obj, limits=False), "Amounts used and allowed."),
        Column("Limit", lambda obj: _amounts(obj, limits=True), "Limits used and allowed."),
        AGE,
    ),
)
