"""StorageClass."""

from __future__ import annotations

from typing import ClassVar

from pilothouse.kinds.columns import AGE, NAME, Column, field
from pilothouse.kinds.kind import Kind
from pilothouse.kinds.problems import Problems, section
from pilothouse.kinds.view import Object, View
from pilothouse.machinery import names
from pilothouse.machinery.objects import Obj, Resource


class TopologySelectorLabelRequirement(View):
    key: str = ""
    values: list[str] = []


class TopologySelectorTerm(View):
    match_label_expressions: list[TopologySelectorLabelRequirement] = []


class StorageClass(Object):
    resource: ClassVar[Resource] = Resource("storage.k8s.io", "v1", "StorageClass", "storageclasses", False)

    provisioner: str = ""
    parameters: dict[str, str] = {}
    reclaim_policy: str | None = None
    mount_options: list[str] = []
    allow_volume_expansion: bool | None = None
    volume_binding_mode: str | None = None
    allowed_topologies: list[TopologySelectorTerm] = []


DEFAULT_CLASS = "storageclass.kubernetes.io/is-default-class"
_RECLAIM_POLICIES = ("Delete", "Retain")
_BINDING_MODES = ("Immediate", "WaitForFirstConsumer")
_FIXED = ("parameters", "provisioner", "reclaimPolicy")


def _defaults(obj: Obj) -> None:
    obj.setdefault("reclaimPolicy", "Delete")
    obj.setdefault("volumeBindingMode", "Immediate")


def _rules(obj: Obj, old: Obj | None, problems: Problems) -> None:
    provisioner = obj.get("provisioner") or ""
    if not provisioner:
        problems.required("provisioner")
    else:
        problems.invalid_each("provisioner", provisioner, names.label_key(provisioner.lower()))
    problems.one_of("reclaimPolicy", obj.get("reclaimPolicy"), _RECLAIM_POLICIES)
    problems.one_of("volumeBindingMode", obj.get("volumeBindingMode"), _BINDING_MODES)
    for key in section(obj, "parameters"):
        if not key:
            problems.invalid("parameters", key, "field can not be empty.")
    seen: list[dict[str, set[str]]] = []
    for index, term in enumerate(obj.get("allowedTopologies") or ()):
        at = f"allowedTopologies[{index}].matchLabelExpressions"
        wanted = _check_topology(term, at, problems)
        if wanted in seen:
            problems.duplicate(at, "")
        seen.append(wanted)
    if old is not None:
        for key in _FIXED:
            if (obj.get(key) or {}) != (old.get(key) or {}):
                problems.forbidden(key, f"updates to {key} are forbidden.")
        problems.immutable("volumeBindingMode", obj.get("volumeBindingMode"), old.get("volumeBindingMode"))


def _check_topology(term: Obj, path: str, problems: Problems) -> dict[str, set[str]]:
    """Source: `ValidateTopologySelectorTerm` of Kubernetes' core validation."""
    wanted: dict[str, set[str]] = {}
    for index, rule in enumerate(term.get("matchLabelExpressions") or ()):
        at, key = f"{path}[{index}]", rule.get("key") or ""
        values: set[str] = set()
        if not rule.get("values"):
            problems.required(f"{at}.values")
        for number, value in enumerate(rule.get("values") or ()):
            if value in values:
                problems.duplicate(f"{at}.values[{number}]", value)
            values.add(value)
        problems.invalid_each(f"{at}.key", key, names.label_key(key))
        if key in wanted:
            problems.duplicate(f"{at}.key", key)
        wanted[key] = values
    return wanted


def _name(obj: Obj) -> str:
    meta = section(obj, "metadata")
    default = section(meta, "annotations").get(DEFAULT_CLASS) == "true"
    return f"{meta.get('name', '')} (default)" if default else str(meta.get("name", ""))


KIND = Kind(
    view=StorageClass,
    short_names=("sc",),
    columns=(
        Column(NAME.name, _name, "Name of the class; the default one is marked.", format="name"),
        Column("Provisioner", field("provisioner"), "Who makes its volumes."),
        Column("ReclaimPolicy", field("reclaimPolicy"), "What happens to a volume after its claim."),
        Column("VolumeBindingMode", field("volumeBindingMode"), "When a volume is made and bound."),
        Column("AllowVolumeExpansion", field("allowVolumeExpansion", default=False), "Whether volumes may grow."),
        AGE,
    ),
    defaults=_defaults,
    rules=_rules,
    returns_deleted=True,
)
