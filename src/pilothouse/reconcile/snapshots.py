"""What is read of volume snapshots, and how local volumes are filled from what there is. No I/O.

Source: snapshot.storage.k8s.io/v1. The data of a snapshot is a local volume like others, that no claim can have: it
counts in its node's room, is made by the node that has the source, and deleted by it.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import ClassVar, Final

import msgspec

from pilothouse.kinds.core.object_reference import ObjectReference
from pilothouse.kinds.core.persistent_volume import PersistentVolume
from pilothouse.kinds.view import Object, View
from pilothouse.machinery.objects import Resource

GROUP: Final = "snapshot.storage.k8s.io"
HOSTNAME: Final = "kubernetes.io/hostname"
FILL_FROM: Final = "pilothouse.io/fill-from"
"""Annotation of a local volume: the local volume of the same node whose content it gets before it is used."""
FILLED: Final = "pilothouse.io/filled"
"""Annotation: when the copying began that has since been finished."""
NOT_FILLED: Final = "pilothouse.io/not-filled"
"""Annotation: why it could not be filled."""
SOURCE_NODE: Final = "pilothouse.io/source-node"
"""Annotation of a claim: the host name of the one node on which its volume can be filled."""


class SnapshotError(View):
    message: str = ""
    time: str | None = None


class VolumeSnapshotSource(View):
    persistent_volume_claim_name: str | None = None
    volume_snapshot_content_name: str | None = None


class VolumeSnapshotSpec(View):
    source: VolumeSnapshotSource = msgspec.field(default_factory=VolumeSnapshotSource)
    volume_snapshot_class_name: str | None = None


class VolumeSnapshotStatus(View):
    bound_volume_snapshot_content_name: str | None = None
    ready_to_use: bool | None = None
    creation_time: str | None = None
    restore_size: str | None = None
    error: SnapshotError | None = None


class VolumeSnapshot(Object):
    resource: ClassVar[Resource] = Resource(GROUP, "v1", "VolumeSnapshot", "volumesnapshots", True)

    spec: VolumeSnapshotSpec = msgspec.field(default_factory=VolumeSnapshotSpec)
    status: VolumeSnapshotStatus = msgspec.field(default_factory=VolumeSnapshotStatus)


class ContentSource(View):
    volume_handle: str | None = None
    snapshot_handle: str | None = None


class VolumeSnapshotContentSpec(View):
    driver: str = ""
    deletion_policy: str = ""
    source: ContentSource = msgspec.field(default_factory=ContentSource)
    volume_snapshot_class_name: str | None = None
    volume_snapshot_ref: ObjectReference = msgspec.field(default_factory=ObjectReference)


class VolumeSnapshotContentStatus(View):
    snapshot_handle: str | None = None
    creation_time: int | None = None
    """Nanoseconds since 1970."""
    restore_size: int | None = None
    ready_to_use: bool | None = None
    error: SnapshotError | None = None


class VolumeSnapshotContent(Object):
    resource: ClassVar[Resource] = Resource(GROUP, "v1", "VolumeSnapshotContent", "volumesnapshotcontents", False)

    spec: VolumeSnapshotContentSpec = msgspec.field(default_factory=VolumeSnapshotContentSpec)
    status: VolumeSnapshotContentStatus = msgspec.field(default_factory=VolumeSnapshotContentStatus)


class VolumeSnapshotClass(Object):
    resource: ClassVar[Resource] = Resource(GROUP, "v1", "VolumeSnapshotClass", "volumesnapshotclasses", False)

    driver: str = ""
    deletion_policy: str = ""


KINDS: Final = (VolumeSnapshot, VolumeSnapshotContent, VolumeSnapshotClass)


def handle_of(content: VolumeSnapshotContent) -> str:
    """The volume that holds a snapshot's data: named as the content, unless that was made for data there was."""
    return content.spec.source.snapshot_handle or content.name


def hostname_of(volume: PersistentVolume) -> str:
    """The one node that has a local volume, by its host name; "" if that is not said."""
    affinity = volume.spec.node_affinity
    terms = affinity.required.node_selector_terms if affinity is not None and affinity.required is not None else []
    names = {
        value
        for term in terms
        for expression in term.match_expressions
        if expression.key == HOSTNAME and expression.operator == "In"
        for value in expression.values
    }
    return names.pop() if len(names) == 1 else ""


def is_filled(volume: PersistentVolume) -> bool:
    """Whether a volume has the content it is to have."""
    annotations = volume.metadata.annotations
    return FILL_FROM not in annotations or FILLED in annotations


def sources_in_use(volumes: Iterable[PersistentVolume]) -> set[str]:
    """The volumes that others are still to be filled from: they may not be deleted yet."""
    return {
        volume.metadata.annotations[FILL_FROM]
        for volume in volumes
        if not is_filled(volume)
        and NOT_FILLED not in volume.metadata.annotations
        and volume.metadata.deletion_timestamp is None
    }
