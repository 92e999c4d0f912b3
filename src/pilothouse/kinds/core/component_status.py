"""ComponentStatus: made when it is asked for, never kept. Deprecated since Kubernetes 1.19."""

from __future__ import annotations

from collections.abc import Callable
from typing import ClassVar

from pilothouse.kinds.columns import NAME, Column
from pilothouse.kinds.kind import Kind
from pilothouse.kinds.view import Object
from pilothouse.machinery.objects import Obj, Resource


class ComponentStatus(Object):
    resource: ClassVar[Resource] = Resource("", "v1", "ComponentStatus", "componentstatuses", False)


def _of_healthy(read: Callable[[Obj], str]) -> Callable[[Obj], str]:
    def value(obj: Obj) -> str:
        return next((read(entry) for entry in obj.get("conditions") or () if entry.get("type") == "Healthy"), "")

    return value


def _status(condition: Obj) -> str:
    status = str(condition.get("status") or "")
    return {"True": "Healthy", "False": "Unhealthy"}.get(status, status)


KIND = Kind(
    view=ComponentStatus,
    short_names=("cs",),
    verbs=frozenset({"get", "list"}),
    columns=(
        NAME,
        Column("Status", _of_healthy(_status), "Whether it works."),
        Column("Message", _of_healthy(lambda entry: entry.get("message") or ""), "What it says."),
        Column("Error", _of_healthy(lambda entry: entry.get("error") or ""), "What is wrong."),
    ),
    warning="v1 ComponentStatus is deprecated in v1.19+",
)
