"""What a snapshot, and the content behind it, need next. Pure.

Source: external-snapshotter's snapshot controller and csi-snapshotter, whose part for local volumes this is. Snapshots
of other drivers are left to those.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from pilothouse.controllers.persistent_volume.claims import LOCAL_FINALIZER
from pilothouse.kinds.core.node import Node
from pilothouse.kinds.core.persistent_volume import PersistentVolume
from pilothouse.kinds.core.persistent_volume_claim import PersistentVolumeClaim
from pilothouse.kinds.view import to_tree
from pilothouse.machinery.objects import Obj, timestamp
from pilothouse.machinery.quantity import to_bytes
from pilothouse.reconcile.snapshots import (
    FILL_FROM,
    FILLED,
    GROUP,
    HOSTNAME,
    NOT_FILLED,
    SOURCE_NODE,
    VolumeSnapshot,
    VolumeSnapshotClass,
    VolumeSnapshotContent,
    handle_of,
    hostname_of,
    is_filled,
)
from pilothouse.reconcile.volumes import LOCAL_PROVISIONER, PROVISIONED_BY, room

SNAPSHOT_FINALIZERS = (
    f"{GROUP}/volumesnapshot-as-source-protection",
    f"{GROUP}/volumesnapshot-bound-protection",
)
CONTENT_FINALIZER = f"{GROUP}/volumesnapshotcontent-bound-protection"
_DEFAULT = "snapshot.storage.kubernetes.io/is-default-class"


@dataclass(frozen=True, slots=True)
class World:
    """What there is, by key."""

    snapshots: Mapping[str, VolumeSnapshot] = field(default_factory=dict)
    contents: Mapping[str, VolumeSnapshotContent] = field(default_factory=dict)
    classes: Sequence[VolumeSnapshotClass] = ()
    claims: Mapping[str, PersistentVolumeClaim] = field(default_factory=dict)
    volumes: Mapping[str, PersistentVolume] = field(default_factory=dict)
    nodes: Mapping[str, Node] = field(default_factory=dict)


@dataclass(slots=True)
class SnapshotPlan:
    """What to do about a snapshot; None leaves as it is. `create` is a content to be made, `bind` one to be given the
    snapshot's uid, `delete` one to be deleted."""

    finalizers: list[str] | None = None
    status: Obj | None = None
    create: Obj | None = None
    bind: VolumeSnapshotContent | None = None
    delete: VolumeSnapshotContent | None = None
    events: list[tuple[str, str, str]] = field(default_factory=list)
    """Type, reason and message of each."""


@dataclass(slots=True)
class ContentPlan:
    """What to do about a content. `create` is the volume for its data, `delete` that volume, `end` the content."""

    finalizers: list[str] | None = None
    status: Obj | None = None
    create: Obj | None = None
    delete: PersistentVolume | None = None
    end: bool = False


class _Cannot(Exception):
    """Why there is no snapshot; it may come to be otherwise."""


def for_snapshot(snapshot: VolumeSnapshot, world: World, now: dt.datetime) -> SnapshotPlan:
    """The plan for a snapshot; an empty one for those of other drivers."""
    content = _content_of(snapshot, world)
    if not _is_ours(snapshot, content, world):
        return SnapshotPlan()
    if snapshot.metadata.deletion_timestamp is not None:
        return _ending(snapshot, content, world)
    plan = SnapshotPlan()
    have = snapshot.metadata.finalizers
    if missing := [name for name in SNAPSHOT_FINALIZERS if name not in have]:
        plan.finalizers = [*have, *missing]
    try:
        content = _bound(snapshot, content, world, plan)
    except _Cannot as why:
        return _failed(snapshot, plan, str(why), now)
    if content is not None:
        _mirror(snapshot, content, plan)
    return plan


def _content_of(snapshot: VolumeSnapshot, world: World) -> VolumeSnapshotContent | None:
    given = snapshot.spec.source.volume_snapshot_content_name
    return world.contents.get(given or f"snapcontent-{snapshot.metadata.uid}")


def _is_ours(snapshot: VolumeSnapshot, content: VolumeSnapshotContent | None, world: World) -> bool:
    if content is not None:
        return content.spec.driver == LOCAL_PROVISIONER
    named = snapshot.spec.volume_snapshot_class_name
    of_class = next((found for found in world.classes if found.name == named), None) if named else None
    if of_class is not None:
        return of_class.driver == LOCAL_PROVISIONER
    return not _others(snapshot, world)


def _others(snapshot: VolumeSnapshot, world: World) -> bool:
    """Whether somebody else's driver has the volume, or may have: where there are classes of others, whose word it is
    that a claim is not there is not for us to say."""
    volume = _source_volume(snapshot, world)
    if volume is not None:
        return volume.metadata.annotations.get(PROVISIONED_BY) != LOCAL_PROVISIONER
    return any(found.driver != LOCAL_PROVISIONER for found in world.classes)


def _source_volume(snapshot: VolumeSnapshot, world: World) -> PersistentVolume | None:
    claim = world.claims.get(f"{snapshot.namespace}/{snapshot.spec.source.persistent_volume_claim_name}")
    return world.volumes.get(claim.spec.volume_name) if claim is not None else None


def _bound(
    snapshot: VolumeSnapshot, content: VolumeSnapshotContent | None, world: World, plan: SnapshotPlan
) -> VolumeSnapshotContent | None:
    """The snapshot's content; None when it is still to be made. Raises _Cannot."""
    if snapshot.spec.source.volume_snapshot_content_name:
        if content is None:
            raise _Cannot(f"VolumeSnapshotContent {snapshot.spec.source.volume_snapshot_content_name} is missing")
        ref = content.spec.volume_snapshot_ref
        if (ref.namespace, ref.name) != (snapshot.namespace, snapshot.name) or (
            ref.uid and ref.uid != snapshot.metadata.uid
        ):
            raise _Cannot(f"VolumeSnapshotContent {content.name} is for another one: {ref.namespace}/{ref.name}")
        if not ref.uid:
            plan.bind = content
            return None
        return content
    if content is None:
        plan.create = _new_content(snapshot, world)
        claim = snapshot.spec.source.persistent_volume_claim_name
        plan.events.append(
            ("Normal", "CreatingSnapshot", f"Waiting for a snapshot {snapshot.key} of claim {claim} to be created")
        )
    return content


def _new_content(snapshot: VolumeSnapshot, world: World) -> Obj:
    chosen = _class_of(snapshot, world)
    name = snapshot.spec.source.persistent_volume_claim_name or ""
    claim = world.claims.get(f"{snapshot.namespace}/{name}")
    if claim is None:
        raise _Cannot(f'persistentvolumeclaim "{name}" not found')
    volume = world.volumes.get(claim.spec.volume_name)
    if claim.status.phase != "Bound" or volume is None:
        raise _Cannot(f'persistentvolumeclaim "{name}" is not bound yet')
    if volume.metadata.annotations.get(PROVISIONED_BY) != LOCAL_PROVISIONER or not hostname_of(volume):
        raise _Cannot(f'persistentvolumeclaim "{name}" has {volume.name}, which is no volume of {chosen.driver}')
    return {
        "metadata": {"name": f"snapcontent-{snapshot.metadata.uid}", "finalizers": [CONTENT_FINALIZER]},
        "spec": {
            "driver": chosen.driver,
            "deletionPolicy": chosen.deletion_policy,
            "volumeSnapshotClassName": chosen.name,
            "source": {"volumeHandle": volume.name},
            "volumeSnapshotRef": _reference(snapshot),
        },
    }


def _class_of(snapshot: VolumeSnapshot, world: World) -> VolumeSnapshotClass:
    named = snapshot.spec.volume_snapshot_class_name
    if named:
        found = next((each for each in world.classes if each.name == named), None)
        if found is None:
            raise _Cannot(f'volumesnapshotclass.snapshot.storage.k8s.io "{named}" not found')
        return found
    ours = [each for each in world.classes if each.driver == LOCAL_PROVISIONER]
    default = [each for each in ours if each.metadata.annotations.get(_DEFAULT) == "true"]
    if len(default) != 1:
        what = f"{len(default)} default snapshot classes" if default else "no default snapshot class"
        raise _Cannot(f"there is {what} for {LOCAL_PROVISIONER}: name one in spec.volumeSnapshotClassName")
    return default[0]


def _reference(snapshot: VolumeSnapshot) -> Obj:
    return {
        "apiVersion": f"{GROUP}/v1",
        "kind": "VolumeSnapshot",
        "namespace": snapshot.namespace,
        "name": snapshot.name,
        "uid": snapshot.metadata.uid,
    }


def _mirror(snapshot: VolumeSnapshot, content: VolumeSnapshotContent, plan: SnapshotPlan) -> None:
    """The snapshot says what its content does."""
    told = content.status
    wanted: Obj = {"boundVolumeSnapshotContentName": content.name, "readyToUse": bool(told.ready_to_use)}
    if told.creation_time is not None:
        wanted["creationTime"] = timestamp(dt.datetime.fromtimestamp(told.creation_time // 10**9, dt.UTC))
    if told.restore_size is not None:
        wanted["restoreSize"] = _binary(told.restore_size)
    wanted["error"] = to_tree(told.error) if told.error is not None else None
    if wanted != {**dict.fromkeys(wanted), **to_tree(snapshot.status)}:
        plan.status = wanted
        if told.ready_to_use and not snapshot.status.ready_to_use:
            plan.events.append(("Normal", "SnapshotReady", f"Snapshot {snapshot.key} is ready to use."))
        if told.error is not None and told.error != snapshot.status.error:
            plan.events.append(("Warning", "SnapshotContentCheckandUpdateFailed", told.error.message))


def _failed(snapshot: VolumeSnapshot, plan: SnapshotPlan, why: str, now: dt.datetime) -> SnapshotPlan:
    before = snapshot.status.error
    if before is None or before.message != why:
        plan.status = {"readyToUse": False, "error": {"message": why, "time": timestamp(now)}}
        plan.events.append(("Warning", "SnapshotContentCreationFailed", why))
    return plan


def _ending(snapshot: VolumeSnapshot, content: VolumeSnapshotContent | None, world: World) -> SnapshotPlan:
    """Kept while a claim is still to be filled from it, and until its content is gone, if that is to go."""
    plan = SnapshotPlan()
    if any(_fills_from(claim, snapshot) for claim in world.claims.values()):
        return plan
    bound = content is not None and content.spec.volume_snapshot_ref.uid == snapshot.metadata.uid
    if content is not None and bound and content.spec.deletion_policy == "Delete":
        plan.delete = content if content.metadata.deletion_timestamp is None else None
        return plan
    left = [name for name in snapshot.metadata.finalizers if name not in SNAPSHOT_FINALIZERS]
    if left != snapshot.metadata.finalizers:
        plan.finalizers = left
    return plan


def _fills_from(claim: PersistentVolumeClaim, snapshot: VolumeSnapshot) -> bool:
    ref = claim.spec.data_source_ref
    waits = claim.status.phase == "Pending" and claim.metadata.deletion_timestamp is None
    return (
        waits
        and ref is not None
        and (ref.api_group, ref.kind, ref.name) == (GROUP, "VolumeSnapshot", snapshot.name)
        and claim.namespace == snapshot.namespace
        and bool(claim.metadata.annotations.get(SOURCE_NODE))
    )


def for_content(content: VolumeSnapshotContent, world: World, now: dt.datetime) -> ContentPlan:
    """The plan for a content; an empty one for those of other drivers."""
    plan = ContentPlan()
    if content.spec.driver != LOCAL_PROVISIONER:
        return plan
    ref = content.spec.volume_snapshot_ref
    snapshot = world.snapshots.get(f"{ref.namespace}/{ref.name}")
    alive = snapshot is not None and (not ref.uid or snapshot.metadata.uid == ref.uid)
    data = world.volumes.get(handle_of(content))
    if content.metadata.deletion_timestamp is not None:
        _end(content, alive and snapshot is not None and snapshot.metadata.deletion_timestamp is None, data, plan)
        return plan
    if CONTENT_FINALIZER not in content.metadata.finalizers:
        plan.finalizers = [*content.metadata.finalizers, CONTENT_FINALIZER]
    if not alive and ref.uid and content.spec.deletion_policy == "Delete":
        plan.end = True
        return plan
    _keep(content, data, world, plan, now)
    return plan


def _end(content: VolumeSnapshotContent, wanted: bool, data: PersistentVolume | None, plan: ContentPlan) -> None:
    """Data first, if it is to go. A content whose snapshot is there stays as long as that."""
    if wanted or CONTENT_FINALIZER not in content.metadata.finalizers:
        return
    if content.spec.deletion_policy == "Delete" and data is not None and _is_data(data):
        plan.delete = data if data.metadata.deletion_timestamp is None else None
        return
    plan.finalizers = [name for name in content.metadata.finalizers if name != CONTENT_FINALIZER]


def _keep(
    content: VolumeSnapshotContent,
    data: PersistentVolume | None,
    world: World,
    plan: ContentPlan,
    now: dt.datetime,
) -> None:
    why = ""
    handle = content.spec.source.volume_handle
    if data is None and handle and not content.status.ready_to_use:
        source = world.volumes.get(handle)
        why = _no_copy(handle, source, world)
        if source is not None and not why:
            plan.create = _data(content, source)
            return
    elif data is None:
        why = f"its data is gone: there is no volume {handle_of(content)}"
    elif not _is_data(data):
        why = f"{data.name} is no data of a snapshot"
    elif NOT_FILLED in data.metadata.annotations:
        why = f"the volume could not be copied: {data.metadata.annotations[NOT_FILLED]}"
    if why:
        before = content.status.error
        if before is None or before.message != why:
            plan.status = {"readyToUse": False, "error": {"message": why, "time": timestamp(now)}}
        return
    assert data is not None
    if is_filled(data) and not content.status.ready_to_use:
        began = data.metadata.annotations.get(FILLED) or data.metadata.creation_timestamp or timestamp(now)
        plan.status = {
            "snapshotHandle": data.name,
            "creationTime": int(dt.datetime.fromisoformat(began).timestamp()) * 10**9,
            "restoreSize": to_bytes(data.spec.capacity.get("storage", "0")),
            "readyToUse": True,
            "error": None,
        }


def _no_copy(handle: str, source: PersistentVolume | None, world: World) -> str:
    """Why the volume cannot be copied now; "" when it can be."""
    if source is None:
        return f'persistentvolume "{handle}" not found'
    hostname = hostname_of(source)
    node = next((n for n in world.nodes.values() if n.metadata.labels.get(HOSTNAME, n.name) == hostname), None)
    if node is None:
        return f"the volume is on {hostname}, which is no node any more"
    left = room(node, world.volumes.values())
    size = to_bytes(source.spec.capacity.get("storage", "0"))
    if left is not None and size > left:
        return f"the node {node.name} has no room: it takes {size} bytes, and {max(0, left)} are promised to no volume"
    return ""


def _is_data(volume: PersistentVolume) -> bool:
    ref = volume.spec.claim_ref
    return volume.metadata.annotations.get(PROVISIONED_BY) == LOCAL_PROVISIONER and (
        ref is not None and ref.kind == "VolumeSnapshot"
    )


def _data(content: VolumeSnapshotContent, source: PersistentVolume) -> Obj:
    """The volume that holds the snapshot's data: beside its source, and no claim's."""
    assert source.spec.local is not None
    assert source.spec.node_affinity is not None
    folder = source.spec.local.path.rpartition("/")[0]
    return {
        "metadata": {
            "name": content.name,
            "annotations": {PROVISIONED_BY: LOCAL_PROVISIONER, FILL_FROM: source.name},
            "finalizers": [LOCAL_FINALIZER],
        },
        "spec": {
            "capacity": source.spec.capacity,
            "accessModes": source.spec.access_modes,
            "volumeMode": "Filesystem",
            "persistentVolumeReclaimPolicy": "Retain",
            "claimRef": to_tree(content.spec.volume_snapshot_ref),
            "local": {"path": f"{folder}/{content.name}"},
            "nodeAffinity": to_tree(source.spec.node_affinity),
        },
    }


def _binary(size: int) -> str:
    for unit, name in ((1 << 40, "Ti"), (1 << 30, "Gi"), (1 << 20, "Mi"), (1 << 10, "Ki")):
        if size and size % unit == 0:
            return f"{size // unit}{name}"
    return str(size)
