"""PersistentVolumeClaim."""

from __future__ import annotations

from typing import ClassVar

import msgspec

from pilothouse.kinds.columns import AGE, NAME, UNSET, Column, field
from pilothouse.kinds.core.claim_validation import check_claim_spec, default_sources
from pilothouse.kinds.core.container import ResourceRequirements
from pilothouse.kinds.core.quantities import canonical_quantities
from pilothouse.kinds.core.volume_columns import access_modes, capacity, phase
from pilothouse.kinds.equality import changed_fields
from pilothouse.kinds.kind import Kind
from pilothouse.kinds.problems import Problems, section
from pilothouse.kinds.view import Condition, LabelSelector, Object, View
from pilothouse.machinery.objects import Obj, Resource
from pilothouse.machinery.quantity import to_bytes


class TypedLocalObjectReference(View):
    api_group: str | None = None
    kind: str = ""
    name: str = ""


class TypedObjectReference(View):
    api_group: str | None = None
    kind: str = ""
    name: str = ""
    namespace: str | None = None


class PersistentVolumeClaimSpec(View):
    """`storage_class_name` None asks for the default class, "" for none."""

    access_modes: list[str] = []
    selector: LabelSelector | None = None
    resources: ResourceRequirements = msgspec.field(default_factory=ResourceRequirements)
    volume_name: str = ""
    storage_class_name: str | None = None
    volume_mode: str | None = None
    volume_attributes_class_name: str | None = None
    data_source: TypedLocalObjectReference | None = None
    data_source_ref: TypedObjectReference | None = None


class PersistentVolumeClaimStatus(View):
    phase: str = ""
    access_modes: list[str] = []
    capacity: dict[str, str] = {}
    allocated_resources: dict[str, str] = {}
    allocated_resource_statuses: dict[str, str] = {}
    conditions: list[Condition] = []


class PersistentVolumeClaim(Object):
    resource: ClassVar[Resource] = Resource("", "v1", "PersistentVolumeClaim", "persistentvolumeclaims", True)

    spec: PersistentVolumeClaimSpec = msgspec.field(default_factory=PersistentVolumeClaimSpec)
    status: PersistentVolumeClaimStatus = msgspec.field(default_factory=PersistentVolumeClaimStatus)


_MAY_BE_SET_ONCE = ("storageClassName", "volumeName")


def _defaults(obj: Obj) -> None:
    spec = obj.setdefault("spec", {})
    spec.setdefault("volumeMode", "Filesystem")
    canonical_quantities(section(spec, "resources").get("requests"))
    default_sources(spec)


def _on_create(obj: Obj) -> None:
    obj["status"] = {"phase": "Pending"}


def _rules(obj: Obj, old: Obj | None, problems: Problems) -> None:
    spec = section(obj, "spec")
    if old is None:
        check_claim_spec(spec, "spec", problems)
    elif spec != (before := section(old, "spec")):
        _check_update(spec, before, problems)
        _check_size(obj, old, problems)


def _check_update(spec: Obj, old: Obj, problems: Problems) -> None:
    changed = changed_fields(spec, old)
    wrong = [f"spec.{key}" for key in changed if key not in _MAY_BE_SET_ONCE or old.get(key)]
    if "spec.resources" in wrong and _without_storage(spec) == _without_storage(old):
        wrong.remove("spec.resources")
    if wrong:
        problems.forbidden(
            "spec",
            "spec is immutable after creation except resources.requests and volumeAttributesClassName for bound claims"
            f"\nchanged here: {', '.join(wrong)}",
        )


def _without_storage(spec: Obj) -> Obj:
    resources = section(spec, "resources")
    requests = {key: value for key, value in section(resources, "requests").items() if key != "storage"}
    return {**resources, "requests": requests}


def _check_size(obj: Obj, old: Obj, problems: Problems) -> None:
    """Source: `ValidatePersistentVolumeClaimUpdate`: a bound claim may ask for more, and go back to what it has."""
    size, before = _requested(obj), _requested(old)
    status = section(old, "status")
    if size == before:
        return
    if status.get("phase") != "Bound":
        problems.forbidden("spec", "spec is immutable after creation except resources.requests for bound claims")
    elif size < to_bytes(section(status, "capacity").get("storage") or "0"):
        problems.forbidden("spec.resources.requests.storage", "field can not be less than status.capacity")


def _requested(claim: Obj) -> int:
    try:
        return to_bytes(section(section(section(claim, "spec"), "resources"), "requests").get("storage") or "0")
    except ValueError:
        return 0


def _bound(key: str, obj: Obj) -> str:
    """The claim's capacity or modes: known only once it has a volume."""
    if not section(obj, "spec").get("volumeName"):
        return ""
    status = section(obj, "status")
    return capacity(status) or "0" if key == "capacity" else access_modes(status)


KIND = Kind(
    view=PersistentVolumeClaim,
    short_names=("pvc",),
    subresources=frozenset({"status"}),
    columns=(
        NAME,
        Column("Status", phase, "Pending, Bound, Lost or Terminating."),
        Column("Volume", field("spec", "volumeName"), "Volume it is bound to."),
        Column("Capacity", lambda obj: _bound("capacity", obj), "Size of that volume."),
        Column("Access Modes", lambda obj: _bound("modes", obj), "How the volume may be mounted."),
        Column("StorageClass", field("spec", "storageClassName"), "Class the volume is asked from."),
        Column(
            "VolumeAttributesClass",
            field("spec", "volumeAttributesClassName", default=UNSET),
            "Class of the volume's attributes.",
        ),
        AGE,
        Column("VolumeMode", field("spec", "volumeMode", default=UNSET), "File system or block.", priority=1),
    ),
    defaults=_defaults,
    rules=_rules,
    on_create=_on_create,
    returns_deleted=True,
)
