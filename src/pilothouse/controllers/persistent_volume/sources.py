"""What a claim's volume is to be filled with: a snapshot, or another claim's volume. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from pilothouse.kinds.core.persistent_volume import PersistentVolume
from pilothouse.kinds.core.persistent_volume_claim import PersistentVolumeClaim
from pilothouse.kinds.storage.storage_class import StorageClass
from pilothouse.machinery.quantity import to_bytes
from pilothouse.reconcile.snapshots import (
    GROUP,
    VolumeSnapshot,
    VolumeSnapshotContent,
    handle_of,
    hostname_of,
    is_filled,
)
from pilothouse.reconcile.volumes import LOCAL_PROVISIONER, PROVISIONED_BY


@dataclass(frozen=True, slots=True)
class Snapshots:
    """The snapshots there are; `defined` is False while nobody has defined their kinds."""

    defined: bool = False
    snapshots: Mapping[str, VolumeSnapshot] = field(default_factory=dict)
    contents: Mapping[str, VolumeSnapshotContent] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Source:
    """A local volume to copy from, the node that has it (by host name), and the bytes that a copy asks for at least."""

    what: str
    volume: str
    hostname: str
    size: int


@dataclass(frozen=True, slots=True)
class NoSource:
    """Why there is nothing to copy from, for now or ever."""

    why: str


def is_local(storage_class: StorageClass | None) -> bool:
    """Whether volumes of a class are made here."""
    return storage_class is not None and storage_class.provisioner == LOCAL_PROVISIONER


def source_of(
    claim: PersistentVolumeClaim,
    claims: Mapping[str, PersistentVolumeClaim],
    volumes: Iterable[PersistentVolume],
    snapshots: Snapshots,
) -> Source | NoSource:
    """What the claim's data source leads to."""
    ref = claim.spec.data_source_ref
    assert ref is not None
    group = ref.api_group or ""
    if ref.namespace and ref.namespace != claim.namespace:
        return NoSource("a data source of another namespace is not read")
    by_name = {volume.name: volume for volume in volumes}
    if (group, ref.kind) == ("", "PersistentVolumeClaim"):
        return _of_claim(ref.name, claims.get(f"{claim.namespace}/{ref.name}"), by_name)
    if (group, ref.kind) == (GROUP, "VolumeSnapshot"):
        if not snapshots.defined:
            return NoSource("the kinds of volume snapshots are not defined: kubectl apply their definitions first")
        return _of_snapshot(ref.name, snapshots.snapshots.get(f"{claim.namespace}/{ref.name}"), snapshots, by_name)
    kind = f"{ref.kind}.{group}" if group else ref.kind
    return NoSource(
        f"local volumes are filled from a VolumeSnapshot or a PersistentVolumeClaim, not from {kind} {ref.name!r}"
    )


def _of_claim(
    name: str, source: PersistentVolumeClaim | None, volumes: Mapping[str, PersistentVolume]
) -> Source | NoSource:
    what = f'persistentvolumeclaim "{name}"'
    if source is None or source.metadata.deletion_timestamp is not None:
        return NoSource(f"{what} not found")
    volume = volumes.get(source.spec.volume_name)
    if source.status.phase != "Bound" or volume is None:
        return NoSource(f"{what} is not bound yet")
    return _of_volume(what, volume)


def _of_snapshot(
    name: str, snapshot: VolumeSnapshot | None, known: Snapshots, volumes: Mapping[str, PersistentVolume]
) -> Source | NoSource:
    what = f'volumesnapshot "{name}"'
    if snapshot is None or snapshot.metadata.deletion_timestamp is not None:
        return NoSource(f"{what} not found")
    content = known.contents.get(snapshot.status.bound_volume_snapshot_content_name or "")
    if content is None or not snapshot.status.ready_to_use:
        return NoSource(f"{what} is not ready to use")
    if content.spec.driver != LOCAL_PROVISIONER:
        return NoSource(f"{what} was made by {content.spec.driver}: claim a volume of that driver from it")
    volume = volumes.get(handle_of(content))
    return NoSource(f"the data of {what} is gone") if volume is None else _of_volume(what, volume)


def _of_volume(what: str, volume: PersistentVolume) -> Source | NoSource:
    hostname = hostname_of(volume)
    if volume.metadata.annotations.get(PROVISIONED_BY) != LOCAL_PROVISIONER or not hostname:
        return NoSource(f"{what} is no local volume that was made here")
    if not is_filled(volume):
        return NoSource(f"{what} is not filled yet")
    return Source(what, volume.name, hostname, to_bytes(volume.spec.capacity.get("storage", "0")))
