"""PriorityClass."""

from __future__ import annotations

from typing import ClassVar

from pilothouse.kinds.columns import AGE, NAME, Column, field
from pilothouse.kinds.kind import Kind
from pilothouse.kinds.problems import Problems
from pilothouse.kinds.view import Object
from pilothouse.machinery.objects import Obj, Resource


class PriorityClass(Object):
    resource: ClassVar[Resource] = Resource("scheduling.k8s.io", "v1", "PriorityClass", "priorityclasses", False)

    value: int = 0
    global_default: bool = False
    description: str = ""
    preemption_policy: str | None = None


HIGHEST_USER_VALUE = 1_000_000_000
SYSTEM_VALUES = {"system-cluster-critical": 2_000_000_000, "system-node-critical": 2_000_001_000}
"""Classes every cluster has."""

_PREEMPTION = ["PreemptLowerPriority", "Never"]


def _defaults(obj: Obj) -> None:
    obj.setdefault("value", 0)
    obj.setdefault("preemptionPolicy", "PreemptLowerPriority")


def _rules(obj: Obj, old: Obj | None, problems: Problems) -> None:
    name, value = (obj.get("metadata") or {}).get("name") or "", obj.get("value", 0)
    if name.startswith("system-"):
        if SYSTEM_VALUES.get(name) != value:
            problems.forbidden(
                "metadata.name", "priority class names with 'system-' prefix are reserved for system use only"
            )
    elif value > HIGHEST_USER_VALUE:
        problems.forbidden("value", f"maximum allowed value of a user defined priority is {HIGHEST_USER_VALUE}")
    problems.one_of("preemptionPolicy", obj.get("preemptionPolicy"), _PREEMPTION)
    if old is not None:
        if value != old.get("value", 0):
            problems.forbidden("value", "may not be changed in an update.")
        problems.immutable("preemptionPolicy", obj.get("preemptionPolicy"), old.get("preemptionPolicy"))


KIND = Kind(
    view=PriorityClass,
    short_names=("pc",),
    columns=(
        NAME,
        Column("Value", field("value", default=0), "Priority of its pods.", type="integer"),
        Column(
            "Global-Default",
            field("globalDefault", default=False),
            "Whether pods without a class get it.",
            type="boolean",
        ),
        AGE,
        Column("PreemptionPolicy", field("preemptionPolicy"), "Whether its pods push others away.", priority=0),
    ),
    generation_fields=("value",),
    defaults=_defaults,
    rules=_rules,
)
