"""Where a pod's claims let it run. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from pilothouse.kinds.core.persistent_volume_claim import PersistentVolumeClaim
from pilothouse.kinds.storage.storage_class import StorageClass
from pilothouse.reconcile.snapshots import HOSTNAME, SOURCE_NODE
from pilothouse.reconcile.volumes import (
    LOCAL_PROVISIONER,
    SELECTED_NODE,
    asked,
    best_volume,
    is_bound,
    reaches,
    room,
    waits_for_consumer,
)
from pilothouse.scheduler.pod_info import PodInfo
from pilothouse.scheduler.snapshot import NodeInfo, Storage
from pilothouse.scheduler.volume_capacity import has_room

_VOLUMES_DIR = "pilothouse.io/volumes-dir"
_NO_PROVISIONER = "kubernetes.io/no-provisioner"


@dataclass(frozen=True, slots=True)
class Claims:
    """A pod's claims: those bound, and those that wait for the scheduler to choose a node."""

    bound: Sequence[PersistentVolumeClaim] = ()
    waiting: Sequence[PersistentVolumeClaim] = ()
    problem: str = ""
    """Why the pod cannot be placed anywhere for now."""


def claims_of(pod: PodInfo, storage: Storage) -> Claims:
    bound, waiting = [], []
    for key in pod.claims:
        claim = storage.claims.get(key)
        name = key.partition("/")[2]
        if claim is None:
            return Claims(problem=f'persistentvolumeclaim "{name}" not found')
        if claim.metadata.deletion_timestamp is not None:
            return Claims(problem=f'persistentvolumeclaim "{name}" is being deleted')
        if claim.status.phase == "Lost":
            return Claims(problem=f'persistentvolumeclaim "{name}" bound to non-existent persistentvolume')
        if is_bound(claim):
            bound.append(claim)
        elif waits_for_consumer(storage.classes.get(claim.spec.storage_class_name or "")):
            waiting.append(claim)
        else:
            return Claims(problem="pod has unbound immediate PersistentVolumeClaims")
    return Claims(bound, waiting)


def objections(claims: Claims, info: NodeInfo, storage: Storage) -> list[str]:
    """Why these claims keep the pod from this node."""
    assert info.node is not None
    for claim in claims.bound:
        volume = storage.volumes.get(claim.spec.volume_name)
        if volume is None:
            return [f'node(s) unavailable due to PersistentVolume "{claim.spec.volume_name}" not found']
        if not reaches(volume, info.node):
            return ["node(s) didn't match PersistentVolume's node affinity"]
    made: list[PersistentVolumeClaim] = []
    for claim in claims.waiting:
        chosen = claim.metadata.annotations.get(SELECTED_NODE)
        if chosen and chosen != info.name:
            return ["node(s) didn't match the node selected for the pod's volumes"]
        source = claim.metadata.annotations.get(SOURCE_NODE)
        if source and source != info.labels.get(HOSTNAME, info.name):
            return ["node(s) didn't have what the pod's volumes are to be filled from"]
        if best_volume(claim, storage.volumes.values(), info.node) is None:
            if not _can_be_made(claim, info, storage):
                return ["node(s) didn't find available persistent volumes to bind"]
            if not has_room(claim, storage.classes[claim.spec.storage_class_name or ""], info.labels, storage):
                return ["node(s) did not have enough free storage"]
            if _is_local(claim, storage):
                made.append(claim)
    left = room(info.node, storage.volumes.values()) if made else None
    if left is not None and sum(map(asked, made)) > left:
        return ["node(s) did not have enough free storage"]
    return []


def _can_be_made(claim: PersistentVolumeClaim, info: NodeInfo, storage: Storage) -> bool:
    storage_class = storage.classes.get(claim.spec.storage_class_name or "")
    if storage_class is None or storage_class.provisioner == _NO_PROVISIONER or info.node is None:
        return False
    if _is_local(claim, storage):
        return bool(info.node.metadata.annotations.get(_VOLUMES_DIR))
    return _is_allowed(storage_class, info.labels)


def _is_allowed(storage_class: StorageClass, labels: Mapping[str, str]) -> bool:
    """Whether a class makes volumes where the node stands: one term has to hold wholly."""
    terms = [term.match_label_expressions for term in storage_class.allowed_topologies]
    return not terms or any(all(labels.get(rule.key) in rule.values for rule in term) for term in terms)


def _is_local(claim: PersistentVolumeClaim, storage: Storage) -> bool:
    storage_class = storage.classes.get(claim.spec.storage_class_name or "")
    return storage_class is not None and storage_class.provisioner == LOCAL_PROVISIONER
