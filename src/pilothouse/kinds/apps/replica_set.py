"""ReplicaSet."""

from __future__ import annotations

from typing import ClassVar

import msgspec

from pilothouse.kinds.apps.rules import check_selected_template, selector_columns
from pilothouse.kinds.columns import AGE, NAME, Column, container_columns, field
from pilothouse.kinds.core.pod_defaults import default_template
from pilothouse.kinds.kind import Kind
from pilothouse.kinds.problems import Problems, section
from pilothouse.kinds.view import Condition, LabelSelector, Object, View
from pilothouse.machinery.objects import Obj, Resource


class ReplicaSetSpec(View):
    """`template` is a PodTemplateSpec tree, passed on as it is."""

    replicas: int | None = None
    min_ready_seconds: int = 0
    selector: LabelSelector | None = None
    template: Obj = {}


class ReplicaSetStatus(View):
    replicas: int = 0
    fully_labeled_replicas: int = 0
    ready_replicas: int = 0
    available_replicas: int = 0
    terminating_replicas: int | None = None
    observed_generation: int = 0
    conditions: list[Condition] = []


class ReplicaSet(Object):
    resource: ClassVar[Resource] = Resource("apps", "v1", "ReplicaSet", "replicasets", True)

    spec: ReplicaSetSpec = msgspec.field(default_factory=ReplicaSetSpec)
    status: ReplicaSetStatus = msgspec.field(default_factory=ReplicaSetStatus)


def _defaults(obj: Obj) -> None:
    spec = obj.setdefault("spec", {})
    spec.setdefault("replicas", 1)
    default_template(spec.setdefault("template", {}))


def _rules(obj: Obj, old: Obj | None, problems: Problems) -> None:
    spec = section(obj, "spec")
    before = None if old is None else section(old, "spec")
    if spec == before:
        return
    for key in ("replicas", "minReadySeconds"):
        problems.not_negative(f"spec.{key}", spec.get(key))
    check_selected_template(spec, before, "empty selector is invalid for deployment", problems)


KIND = Kind(
    view=ReplicaSet,
    short_names=("rs",),
    categories=("all",),
    subresources=frozenset({"status", "scale"}),
    columns=(
        NAME,
        Column("Desired", field("spec", "replicas", default=0), "Pods wanted.", type="integer"),
        Column("Current", field("status", "replicas", default=0), "Pods there are.", type="integer"),
        Column("Ready", field("status", "readyReplicas", default=0), "Pods that are ready.", type="integer"),
        AGE,
        *container_columns("spec", "template"),
        *selector_columns(),
    ),
    generation_fields=("spec",),
    defaults=_defaults,
    rules=_rules,
    fields=lambda obj: {"status.replicas": str(section(obj, "status").get("replicas", 0))},
)
