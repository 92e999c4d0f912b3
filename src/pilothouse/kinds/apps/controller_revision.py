"""ControllerRevision: a state that a StatefulSet or DaemonSet was in, kept for rolling back."""

from __future__ import annotations

from typing import ClassVar

from pilothouse.kinds.columns import AGE, NAME, NONE, Column, field
from pilothouse.kinds.kind import Kind
from pilothouse.kinds.problems import Problems
from pilothouse.kinds.view import Object
from pilothouse.machinery.objects import Obj, Resource


class ControllerRevision(Object):
    """`data` is a strategic merge patch that brings the owner back to this state."""

    resource: ClassVar[Resource] = Resource("apps", "v1", "ControllerRevision", "controllerrevisions", True)

    data: Obj = {}
    revision: int = 0


def _rules(obj: Obj, old: Obj | None, problems: Problems) -> None:
    if "data" not in obj:
        problems.required("data", "data is mandatory")
    problems.not_negative("revision", obj.get("revision"))
    if old is not None:
        problems.immutable("data", obj.get("data"), old.get("data"))


def _controller(obj: Obj) -> str:
    """The controlling owner as `kind.group/name`."""
    for owner in (obj.get("metadata") or {}).get("ownerReferences") or ():
        if owner.get("controller"):
            group = owner.get("apiVersion", "").rpartition("/")[0]
            kind = owner.get("kind", "").lower()
            return f"{kind}.{group}/{owner.get('name')}" if group else f"{kind}/{owner.get('name')}"
    return NONE


KIND = Kind(
    view=ControllerRevision,
    columns=(
        NAME,
        Column("Controller", _controller, "Workload whose state it keeps."),
        Column("Revision", field("revision", default=0), "Number of the state, the newest has the highest."),
        AGE,
    ),
    rules=_rules,
)
