"""Which volume fits which claim, as the volume controller and the scheduler must agree on it. Pure."""

from __future__ import annotations

from collections.abc import Iterable

from pilothouse.kinds.core.node import Node
from pilothouse.kinds.core.persistent_volume import PersistentVolume
from pilothouse.kinds.core.persistent_volume_claim import PersistentVolumeClaim
from pilothouse.kinds.storage.storage_class import StorageClass
from pilothouse.machinery.quantity import to_bytes
from pilothouse.reconcile.labels import matches
from pilothouse.reconcile.node_selectors import selects

SELECTED_NODE = "volume.kubernetes.io/selected-node"
LOCAL_PROVISIONER = "pilothouse.io/local"
VOLUMES_CAPACITY = "pilothouse.io/volumes-capacity"
"""Annotation of a node: the size in bytes of the file system that holds its local volumes."""
PROVISIONED_BY = "pv.kubernetes.io/provisioned-by"
_DEFAULT_CLASS = "storageclass.kubernetes.io/is-default-class"


def reaches(volume: PersistentVolume, node: Node) -> bool:
    """True if the volume can be used on that node."""
    affinity = volume.spec.node_affinity
    return affinity is None or affinity.required is None or selects(affinity.required, node)


def room(node: Node, volumes: Iterable[PersistentVolume]) -> int | None:
    """The bytes of a node's file system for local volumes that are promised to none; None if it tells no size."""
    text = node.metadata.annotations.get(VOLUMES_CAPACITY, "")
    if not text.isdigit():
        return None
    promised = sum(
        to_bytes(volume.spec.capacity.get("storage", "0"))
        for volume in volumes
        if volume.metadata.annotations.get(PROVISIONED_BY) == LOCAL_PROVISIONER and reaches(volume, node)
    )
    return int(text) - promised


def asked(claim: PersistentVolumeClaim) -> int:
    """The bytes that a claim asks for."""
    return to_bytes(claim.spec.resources.requests.get("storage", "0"))


def is_bound(claim: PersistentVolumeClaim) -> bool:
    return bool(claim.spec.volume_name) and claim.status.phase == "Bound"


def claims(volume: PersistentVolume, claim: PersistentVolumeClaim) -> bool:
    """True if the volume is reserved for this claim: by uid, or by name alone (reserved beforehand)."""
    ref = volume.spec.claim_ref
    if ref is None or (ref.namespace, ref.name) != (claim.namespace, claim.name):
        return False
    return not ref.uid or ref.uid == claim.metadata.uid


def best_volume(
    claim: PersistentVolumeClaim, volumes: Iterable[PersistentVolume], node: Node | None = None
) -> PersistentVolume | None:
    """The volume to bind: one reserved for the claim, else the smallest free one that is large enough.

    With `node`, only volumes usable there. A claim that is to be filled takes none that is there already.
    """
    free: list[tuple[int, str, PersistentVolume]] = []
    for volume in volumes:
        if volume.metadata.deletion_timestamp is not None or not _fits(claim, volume):
            continue
        if node is not None and not reaches(volume, node):
            continue
        if claims(volume, claim):
            return volume
        if claim.spec.data_source_ref is not None:
            continue
        if volume.spec.claim_ref is None and volume.status.phase in ("", "Available", "Pending"):
            free.append((to_bytes(volume.spec.capacity.get("storage", "0")), volume.name, volume))
    return min(free, key=lambda item: item[:2], default=(0, "", None))[2]


def _fits(claim: PersistentVolumeClaim, volume: PersistentVolume) -> bool:
    spec = claim.spec
    if (spec.volume_mode or "Filesystem") != (volume.spec.volume_mode or "Filesystem"):
        return False
    if not set(spec.access_modes) <= set(volume.spec.access_modes):
        return False
    if to_bytes(volume.spec.capacity.get("storage", "0")) < to_bytes(spec.resources.requests.get("storage", "0")):
        return False
    if claims(volume, claim):
        return True
    if (spec.storage_class_name or "") != volume.spec.storage_class_name:
        return False
    return spec.selector is None or matches(spec.selector, volume.metadata.labels)


def waits_for_consumer(storage_class: StorageClass | None) -> bool:
    return storage_class is not None and storage_class.volume_binding_mode == "WaitForFirstConsumer"


def default_class(classes: Iterable[StorageClass]) -> StorageClass | None:
    """The class marked as default; the newest if there are several."""
    marked = [c for c in classes if c.metadata.annotations.get(_DEFAULT_CLASS) == "true"]
    return max(marked, key=lambda c: (c.metadata.creation_timestamp or "", c.name), default=None)
