"""PersistentVolumeClaim."""

from __future__ import annotations

from typing import ClassVar

import msgspec

from pilothouse.kinds.core.container import ResourceRequirements
from pilothouse.kinds.view import Condition, LabelSelector, Object, View
from pilothouse.machinery.objects import Resource


class TypedLocalObjectReference(View):
    api_group: str | None = None
    kind: str = ""
    name: str = ""


class PersistentVolumeClaimSpec(View):
    """`storage_class_name` None asks for the default class, "" for none."""

    access_modes: list[str] = []
    selector: LabelSelector | None = None
    resources: ResourceRequirements = msgspec.field(default_factory=ResourceRequirements)
    volume_name: str = ""
    storage_class_name: str | None = None
    volume_mode: str | None = None
    data_source: TypedLocalObjectReference | None = None


class PersistentVolumeClaimStatus(View):
    phase: str = ""
    access_modes: list[str] = []
    capacity: dict[str, str] = {}
    conditions: list[Condition] = []


class PersistentVolumeClaim(Object):
    resource: ClassVar[Resource] = Resource("", "v1", "PersistentVolumeClaim", "persistentvolumeclaims", True)

    spec: PersistentVolumeClaimSpec = msgspec.field(default_factory=PersistentVolumeClaimSpec)
    status: PersistentVolumeClaimStatus = msgspec.field(default_factory=PersistentVolumeClaimStatus)
