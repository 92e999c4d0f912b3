"""ReplicationController."""

from __future__ import annotations

from typing import ClassVar

import msgspec

from pilothouse.kinds.apps.replica_set import ReplicaSetStatus
from pilothouse.kinds.columns import AGE, NAME, Column, container_columns, field, pairs
from pilothouse.kinds.core.pod_defaults import default_template
from pilothouse.kinds.core.pod_validation import check_template
from pilothouse.kinds.kind import Kind
from pilothouse.kinds.metadata import check_labels
from pilothouse.kinds.problems import Problems, section
from pilothouse.kinds.view import Object, View
from pilothouse.machinery.objects import Obj, Resource


class ReplicationControllerSpec(View):
    """`template` is a PodTemplateSpec tree, passed on as it is."""

    replicas: int | None = None
    min_ready_seconds: int = 0
    selector: dict[str, str] = {}
    template: Obj = {}


class ReplicationController(Object):
    """The status is a ReplicaSet's."""

    resource: ClassVar[Resource] = Resource("", "v1", "ReplicationController", "replicationcontrollers", True)

    spec: ReplicationControllerSpec = msgspec.field(default_factory=ReplicationControllerSpec)
    status: ReplicaSetStatus = msgspec.field(default_factory=ReplicaSetStatus)


def _defaults(obj: Obj) -> None:
    spec = obj.setdefault("spec", {})
    spec.setdefault("replicas", 1)
    labels = section(section(section(spec, "template"), "metadata"), "labels")
    if labels:
        if not spec.get("selector"):
            spec["selector"] = dict(labels)
        meta = obj.setdefault("metadata", {})
        if not meta.get("labels"):
            meta["labels"] = dict(labels)
    if spec.get("template"):
        default_template(spec["template"])


def _rules(obj: Obj, old: Obj | None, problems: Problems) -> None:
    """Source of the wording: upstream's validation of ReplicationControllers."""
    spec = section(obj, "spec")
    before = None if old is None else section(old, "spec")
    if spec == before:
        return
    for key in ("replicas", "minReadySeconds"):
        problems.not_negative(f"spec.{key}", spec.get(key))
    template = spec.get("template")
    selector: dict[str, str] = spec.get("selector") or {}
    if not selector:
        problems.required("spec.selector")
    check_labels(selector, "spec.selector", problems)
    if template is None:
        problems.required("spec.template")
        return
    labels: dict[str, str] | None = section(template, "metadata").get("labels")
    if selector and not selector.items() <= (labels or {}).items():
        problems.invalid("spec.template.metadata.labels", labels, "`selector` does not match template `labels`")
    if before is None or template != before.get("template"):
        check_template(template, "spec.template", problems)


KIND = Kind(
    view=ReplicationController,
    short_names=("rc",),
    categories=("all",),
    subresources=frozenset({"status", "scale"}),
    columns=(
        NAME,
        Column("Desired", field("spec", "replicas", default=0), "Pods wanted.", type="integer"),
        Column("Current", field("status", "replicas", default=0), "Pods there are.", type="integer"),
        Column("Ready", field("status", "readyReplicas", default=0), "Pods that are ready.", type="integer"),
        AGE,
        *container_columns("spec", "template"),
        Column("Selector", lambda obj: pairs(section(obj, "spec").get("selector")), "Its pods' labels.", priority=1),
    ),
    generation_fields=("spec",),
    defaults=_defaults,
    rules=_rules,
    fields=lambda obj: {"status.replicas": str(section(obj, "status").get("replicas", 0))},
)
