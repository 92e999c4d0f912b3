"""FlowSchema."""

from __future__ import annotations

from typing import ClassVar

from pilothouse.kinds.columns import AGE, NAME, NONE, Column, field
from pilothouse.kinds.kind import Kind
from pilothouse.kinds.problems import section
from pilothouse.kinds.view import Object
from pilothouse.machinery.objects import Obj, Resource


class FlowSchema(Object):
    resource: ClassVar[Resource] = Resource("flowcontrol.apiserver.k8s.io", "v1", "FlowSchema", "flowschemas", False)


def _missing_level(obj: Obj) -> str:
    conditions = section(obj, "status").get("conditions") or ()
    return next((str(entry.get("status", "")) for entry in conditions if entry.get("type") == "Dangling"), "?")


KIND = Kind(
    view=FlowSchema,
    subresources=frozenset({"status"}),
    columns=(
        NAME,
        Column("PriorityLevel", field("spec", "priorityLevelConfiguration", "name"), "Level of its requests."),
        Column("MatchingPrecedence", field("spec", "matchingPrecedence", default=0), "Order among schemas."),
        Column("DistinguisherMethod", field("spec", "distinguisherMethod", "type", default=NONE), "What parts flows."),
        AGE,
        Column("MissingPL", _missing_level, "Whether its level is missing."),
    ),
    generation_fields=("spec",),
)
