"""PersistentVolume."""

from __future__ import annotations

from typing import ClassVar

import msgspec

from pilothouse.kinds.columns import AGE, NAME, UNSET, Column, field
from pilothouse.kinds.core.claim_validation import check_access_modes, check_storage, check_volume_mode
from pilothouse.kinds.core.csi_volume import CSIPersistentVolumeSource, check_persistent_source
from pilothouse.kinds.core.object_reference import ObjectReference
from pilothouse.kinds.core.placement_validation import check_node_selector
from pilothouse.kinds.core.pod_spec import NodeSelector
from pilothouse.kinds.core.quantities import canonical_quantities
from pilothouse.kinds.core.volume import HostPathVolumeSource
from pilothouse.kinds.core.volume_columns import access_modes, capacity, phase
from pilothouse.kinds.equality import changed_fields
from pilothouse.kinds.kind import Kind
from pilothouse.kinds.problems import Problems, section
from pilothouse.kinds.view import Object, View
from pilothouse.machinery import names
from pilothouse.machinery.objects import Obj, Resource, timestamp


class LocalVolumeSource(View):
    path: str = ""
    fs_type: str | None = None


class VolumeNodeAffinity(View):
    required: NodeSelector | None = None


class PersistentVolumeSpec(View):
    capacity: dict[str, str] = {}
    access_modes: list[str] = []
    claim_ref: ObjectReference | None = None
    persistent_volume_reclaim_policy: str = ""
    storage_class_name: str = ""
    volume_mode: str | None = None
    mount_options: list[str] = []
    node_affinity: VolumeNodeAffinity | None = None
    local: LocalVolumeSource | None = None
    host_path: HostPathVolumeSource | None = None
    csi: CSIPersistentVolumeSource | None = None


class PersistentVolumeStatus(View):
    phase: str = ""
    message: str = ""
    reason: str = ""


class PersistentVolume(Object):
    resource: ClassVar[Resource] = Resource("", "v1", "PersistentVolume", "persistentvolumes", False)

    spec: PersistentVolumeSpec = msgspec.field(default_factory=PersistentVolumeSpec)
    status: PersistentVolumeStatus = msgspec.field(default_factory=PersistentVolumeStatus)


_SOURCES = ("hostPath", "local", "csi")
_RECLAIM_POLICIES = ("Delete", "Retain")
_NOT_SOURCES = frozenset(
    {
        "accessModes",
        "capacity",
        "claimRef",
        "mountOptions",
        "nodeAffinity",
        "persistentVolumeReclaimPolicy",
        "storageClassName",
        "volumeAttributesClassName",
        "volumeMode",
    }
)


def _defaults(obj: Obj) -> None:
    spec = obj.setdefault("spec", {})
    spec.setdefault("persistentVolumeReclaimPolicy", "Retain")
    spec.setdefault("volumeMode", "Filesystem")
    canonical_quantities(spec.get("capacity"))
    if "hostPath" in spec:
        spec["hostPath"].setdefault("type", "")


def _on_create(obj: Obj) -> None:
    obj["status"] = {"phase": "Pending", "lastPhaseTransitionTime": timestamp()}


def _rules(obj: Obj, old: Obj | None, problems: Problems) -> None:
    spec = section(obj, "spec")
    if old is None:
        _check_spec(spec, problems)
        return
    before = section(old, "spec")
    if spec == before:
        return
    _check_spec(spec, problems)
    if set(changed_fields(spec, before)) - _NOT_SOURCES:
        problems.forbidden("spec.persistentvolumesource", "spec.persistentvolumesource is immutable after creation")
    for key in ("volumeMode", "nodeAffinity"):
        if key in before:
            problems.immutable(key, spec.get(key), before[key])


def _check_spec(spec: Obj, problems: Problems) -> None:
    check_access_modes(spec.get("accessModes") or [], "spec.accessModes", problems)
    capacity = section(spec, "capacity")
    if not capacity:
        problems.required("spec.capacity")
    if list(capacity) != ["storage"]:
        problems.unsupported("spec.capacity", spec.get("capacity"), ("storage",))
    if "storage" in capacity:
        check_storage(capacity, "spec.capacity", problems)
    check_volume_mode(spec.get("volumeMode"), "spec.volumeMode", problems)
    problems.one_of("spec.persistentVolumeReclaimPolicy", spec.get("persistentVolumeReclaimPolicy"), _RECLAIM_POLICIES)
    if storage_class := spec.get("storageClassName"):
        problems.invalid_each("spec.storageClassName", storage_class, names.dns1123_subdomain(storage_class))
    unknown = sorted(spec.keys() - _NOT_SOURCES - set(_SOURCES))
    for key in unknown:
        problems.forbidden(
            f"spec.{key}", "volumes of this type cannot be mounted by Pilothouse; use local, hostPath or csi"
        )
    source = None if unknown else problems.exactly_one("spec", spec, _SOURCES, "volume type")
    required = section(spec, "nodeAffinity").get("required")
    if required is not None:
        check_node_selector(required, "spec.nodeAffinity.required", problems)
    elif source == "local":
        problems.required("spec.nodeAffinity", "Local volume requires node affinity")
    if source == "csi":
        check_persistent_source(spec["csi"], "spec.csi", problems)
    elif source is not None:
        _check_path(spec[source].get("path") or "", f"spec.{source}.path", problems)


def _check_path(text: str, path: str, problems: Problems) -> None:
    if not text:
        problems.required(path)
    elif ".." in text.split("/"):
        problems.invalid(path, text, "must not contain '..'")


def _claim(obj: Obj) -> str:
    claim = section(section(obj, "spec"), "claimRef")
    return f"{claim.get('namespace', '')}/{claim.get('name', '')}" if claim else ""


KIND = Kind(
    view=PersistentVolume,
    short_names=("pv",),
    subresources=frozenset({"status"}),
    columns=(
        NAME,
        Column("Capacity", lambda obj: capacity(section(obj, "spec")), "Size of the volume."),
        Column("Access Modes", lambda obj: access_modes(section(obj, "spec")), "How it may be mounted."),
        Column("Reclaim Policy", field("spec", "persistentVolumeReclaimPolicy"), "What happens to it after its claim."),
        Column("Status", phase, "Pending, Available, Bound, Released, Failed or Terminating."),
        Column("Claim", _claim, "Claim it is bound to."),
        Column("StorageClass", field("spec", "storageClassName"), "Class it belongs to."),
        Column(
            "VolumeAttributesClass",
            field("spec", "volumeAttributesClassName", default=UNSET),
            "Class of the volume's attributes.",
        ),
        Column("Reason", field("status", "reason"), "Why it failed."),
        AGE,
        Column("VolumeMode", field("spec", "volumeMode", default=UNSET), "File system or block.", priority=1),
    ),
    defaults=_defaults,
    rules=_rules,
    on_create=_on_create,
    returns_deleted=True,
)
