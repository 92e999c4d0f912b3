"""ReplicationController."""

from __future__ import annotations

from typing import ClassVar

from pilothouse.kinds.columns import AGE, NAME, Column, container_columns, field, pairs
from pilothouse.kinds.core.pod_defaults import default_template
from pilothouse.kinds.kind import Kind
from pilothouse.kinds.problems import section
from pilothouse.kinds.view import Object
from pilothouse.machinery.objects import Obj, Resource


class ReplicationController(Object):
    resource: ClassVar[Resource] = Resource("", "v1", "ReplicationController", "replicationcontrollers", True)


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
    fields=lambda obj: {"status.replicas": str(section(obj, "status").get("replicas", 0))},
)
