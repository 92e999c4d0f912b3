"""PersistentVolume."""

from __future__ import annotations

from typing import ClassVar

import msgspec

from pilothouse.kinds.core.object_reference import ObjectReference
from pilothouse.kinds.core.pod_spec import NodeSelector
from pilothouse.kinds.core.volume import HostPathVolumeSource
from pilothouse.kinds.view import Object, View
from pilothouse.machinery.objects import Resource


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


class PersistentVolumeStatus(View):
    phase: str = ""
    message: str = ""
    reason: str = ""


class PersistentVolume(Object):
    resource: ClassVar[Resource] = Resource("", "v1", "PersistentVolume", "persistentvolumes", False)

    spec: PersistentVolumeSpec = msgspec.field(default_factory=PersistentVolumeSpec)
    status: PersistentVolumeStatus = msgspec.field(default_factory=PersistentVolumeStatus)
