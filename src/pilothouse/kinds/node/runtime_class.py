"""RuntimeClass."""

from __future__ import annotations

from typing import ClassVar

from pilothouse.kinds.columns import AGE, NAME, Column, field
from pilothouse.kinds.core.placement_validation import check_tolerations
from pilothouse.kinds.core.pod_spec import Toleration
from pilothouse.kinds.core.quantities import canonical_quantities, check_quantity
from pilothouse.kinds.kind import Kind
from pilothouse.kinds.metadata import check_labels
from pilothouse.kinds.problems import Problems, section
from pilothouse.kinds.view import Object, View
from pilothouse.machinery import names
from pilothouse.machinery.objects import Obj, Resource


class Overhead(View):
    pod_fixed: dict[str, str] = {}


class Scheduling(View):
    node_selector: dict[str, str] = {}
    tolerations: list[Toleration] = []


class RuntimeClass(Object):
    resource: ClassVar[Resource] = Resource("node.k8s.io", "v1", "RuntimeClass", "runtimeclasses", False)

    handler: str = ""
    overhead: Overhead | None = None
    scheduling: Scheduling | None = None


def _defaults(obj: Obj) -> None:
    canonical_quantities(section(obj, "overhead").get("podFixed"))


def _rules(obj: Obj, old: Obj | None, problems: Problems) -> None:
    handler = obj.get("handler") or ""
    problems.invalid_each("handler", handler, names.dns1123_label(handler))
    for name, amount in section(section(obj, "overhead"), "podFixed").items():
        check_quantity(amount, f"overhead.podFixed[{name}]", problems)
    scheduling = section(obj, "scheduling")
    check_labels(scheduling.get("nodeSelector"), "scheduling.nodeSelector", problems)
    check_tolerations(scheduling.get("tolerations") or [], "scheduling.tolerations", problems)
    if old is not None:
        problems.immutable("handler", handler, old.get("handler"))


KIND = Kind(
    view=RuntimeClass,
    columns=(NAME, Column("Handler", field("handler"), "Runtime of the container runtime's configuration."), AGE),
    defaults=_defaults,
    rules=_rules,
    create_on_update=True,
    bare_finalizers=True,
)
