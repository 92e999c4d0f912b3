"""Namespace."""

from __future__ import annotations

from typing import ClassVar

import msgspec

from pilothouse.kinds.columns import AGE, NAME, Column, field
from pilothouse.kinds.kind import ALL_VERBS, Kind
from pilothouse.kinds.metadata import UNQUALIFIED
from pilothouse.kinds.problems import Problems, section
from pilothouse.kinds.view import Condition, Object, View
from pilothouse.machinery import names
from pilothouse.machinery.objects import Obj, Resource


class NamespaceSpec(View):
    finalizers: list[str] = []


class NamespaceStatus(View):
    phase: str = ""
    conditions: list[Condition] = []


class Namespace(Object):
    resource: ClassVar[Resource] = Resource("", "v1", "Namespace", "namespaces", False)

    spec: NamespaceSpec = msgspec.field(default_factory=NamespaceSpec)
    status: NamespaceStatus = msgspec.field(default_factory=NamespaceStatus)


NAME_LABEL = "kubernetes.io/metadata.name"
FINALIZER = "kubernetes"


def _defaults(obj: Obj) -> None:
    meta = obj.setdefault("metadata", {})
    if meta.get("name"):
        meta["labels"] = {**(meta.get("labels") or {}), NAME_LABEL: meta["name"]}


def _on_create(obj: Obj) -> None:
    _defaults(obj)  # the name may have been generated since
    spec = obj.setdefault("spec", {})
    finalizers = spec.get("finalizers") or []
    spec["finalizers"] = finalizers if FINALIZER in finalizers else [*finalizers, FINALIZER]
    obj["status"] = {"phase": "Active"}


def _on_update(new: Obj, old: Obj) -> None:
    new["spec"] = {**section(new, "spec"), "finalizers": section(old, "spec").get("finalizers") or []}


def _rules(obj: Obj, old: Obj | None, problems: Problems) -> None:
    for finalizer in section(obj, "spec").get("finalizers") or ():
        if finalizer != FINALIZER:
            problems.invalid_each("spec.finalizers", finalizer, names.label_key(finalizer))
            if "/" not in finalizer:
                problems.invalid("spec.finalizers", finalizer, UNQUALIFIED)


KIND = Kind(
    view=Namespace,
    short_names=("ns",),
    subresources=frozenset({"status", "finalize"}),
    # A collection of namespaces is never deleted in one request.
    verbs=ALL_VERBS - {"deletecollection"},
    columns=(NAME, Column("Status", field("status", "phase"), "Active, or Terminating while being deleted."), AGE),
    name_rule=names.dns1123_label,
    defaults=_defaults,
    rules=_rules,
    on_create=_on_create,
    on_update=_on_update,
    fields=lambda obj: {"status.phase": section(obj, "status").get("phase") or ""},
)
