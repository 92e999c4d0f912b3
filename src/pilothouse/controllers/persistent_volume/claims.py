"""What a claim needs next, decided from one snapshot. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from pilothouse.controllers.conditions import find
from pilothouse.controllers.persistent_volume.sources import NoSource, Snapshots, is_local, source_of
from pilothouse.kinds.core.node import Node
from pilothouse.kinds.core.persistent_volume import PersistentVolume
from pilothouse.kinds.core.persistent_volume_claim import PersistentVolumeClaim
from pilothouse.kinds.storage.storage_class import StorageClass
from pilothouse.machinery.objects import Obj
from pilothouse.machinery.quantity import to_bytes
from pilothouse.reconcile.snapshots import FILL_FROM, NOT_FILLED, SOURCE_NODE, is_filled
from pilothouse.reconcile.volumes import (
    LOCAL_PROVISIONER,
    PROVISIONED_BY,
    SELECTED_NODE,
    asked,
    best_volume,
    claims,
    default_class,
    reaches,
    room,
    waits_for_consumer,
)

STORAGE_PROVISIONER = "volume.kubernetes.io/storage-provisioner"
"""Annotation of a claim: who is to make its volume. External provisioners wait for it, older ones for the other."""
STORAGE_PROVISIONER_BETA = "volume.beta.kubernetes.io/storage-provisioner"
VOLUMES_DIR = "pilothouse.io/volumes-dir"
"""Annotation of a node: the directory that holds its local volumes."""
BIND_COMPLETED = "pv.kubernetes.io/bind-completed"
BOUND_BY_CONTROLLER = "pv.kubernetes.io/bound-by-controller"
PV_PROTECTION = "kubernetes.io/pv-protection"
LOCAL_FINALIZER = "pilothouse.io/local-volume"
_HOSTNAME = "kubernetes.io/hostname"
_LOCAL_MODES = frozenset({"ReadWriteOnce", "ReadWriteOncePod"})


@dataclass(frozen=True, slots=True)
class Bind:
    """Reserve the volume for the claim (if it is not yet), then write the claim's side."""

    volume: PersistentVolume


@dataclass(frozen=True, slots=True)
class Provision:
    """Make a volume for the claim from this tree, reserved for it. One that is to be filled is bound afterwards."""

    name: str
    tree: Obj


@dataclass(frozen=True, slots=True)
class Steer:
    """Tell the scheduler the one node, by host name, on which the claim's volume can be filled."""

    hostname: str


@dataclass(frozen=True, slots=True)
class SetClass:
    """Give the claim the default class, which came later than the claim."""

    name: str


@dataclass(frozen=True, slots=True)
class Entrust:
    """Leave the making of its volume to an external provisioner, by name."""

    provisioner: str


@dataclass(frozen=True, slots=True)
class Lose:
    """The claim's volume is gone."""

    message: str


@dataclass(frozen=True, slots=True)
class Unselect:
    """The node selected for it is gone or cannot serve: the scheduler shall choose again."""

    message: str


@dataclass(frozen=True, slots=True)
class Wait:
    """Nothing to do but say why; no reason, nothing to say."""

    reason: str = ""
    message: str = ""
    warning: bool = False


@dataclass(frozen=True, slots=True)
class Resize:
    """Promise the claim's volume more, then tell the claim."""

    volume: PersistentVolume
    storage: str


Step = Bind | Resize | Provision | Steer | Entrust | SetClass | Lose | Unselect | Wait


@dataclass(frozen=True, slots=True)
class World:
    volumes: Sequence[PersistentVolume]
    classes: Sequence[StorageClass]
    nodes: dict[str, Node] = field(default_factory=dict)
    claims: Mapping[str, PersistentVolumeClaim] = field(default_factory=dict)
    snapshots: Snapshots = field(default_factory=Snapshots)


def next_step(claim: PersistentVolumeClaim, world: World) -> Step:
    """The next step towards a bound claim. For a claim that is bound and well: `Wait()`."""
    if claim.spec.volume_name:
        return _named(claim, world)
    classes = {c.name: c for c in world.classes}
    name = claim.spec.storage_class_name
    if name is None:
        default = default_class(world.classes)
        if default is not None:
            return SetClass(default.name)
    storage_class = classes.get(name or "")
    if name and storage_class is None and not any(claims(volume, claim) for volume in world.volumes):
        found = best_volume(claim, world.volumes)
        if found is not None:
            return Bind(found)
        return Wait("ProvisioningFailed", f'storageclass.storage.k8s.io "{name}" not found', warning=True)
    return _unbound(claim, world, storage_class)


def _named(claim: PersistentVolumeClaim, world: World) -> Step:
    volume = next((v for v in world.volumes if v.name == claim.spec.volume_name), None)
    bound_before = claim.metadata.annotations.get(BIND_COMPLETED) == "yes"
    if volume is None:
        if bound_before:
            return Lose("Bound claim has lost its PersistentVolume. Any data on it may be lost.")
        return Wait("FailedBinding", f'volume "{claim.spec.volume_name}" does not exist yet')
    if volume.spec.claim_ref is not None and not claims(volume, claim):
        if bound_before:
            return Lose("Bound claim has lost reference to its PersistentVolume: it belongs to another claim.")
        return Wait("FailedBinding", f'volume "{volume.name}" already bound to a different claim.', warning=True)
    ref = volume.spec.claim_ref
    if bound_before and claim.status.phase == "Bound" and ref is not None and ref.uid == claim.metadata.uid:
        return _grown(claim, volume, world)
    return Bind(volume)


def _grown(claim: PersistentVolumeClaim, volume: PersistentVolume, world: World) -> Step:
    """What a bound claim that asks for more than it has gets. Only volumes made here grow here."""
    wanted = claim.spec.resources.requests.get("storage", "0")
    has = claim.status.capacity.get("storage")
    if has is None or asked(claim) <= to_bytes(has):
        return Wait()
    if volume.metadata.annotations.get(PROVISIONED_BY) != LOCAL_PROVISIONER:
        provisioner = volume.metadata.annotations.get(PROVISIONED_BY, "")
        return Wait("ExternalExpanding", f"waiting for an external controller to expand this PVC ({provisioner})")
    more = asked(claim) - to_bytes(volume.spec.capacity.get("storage", "0"))
    for node in world.nodes.values():
        left = room(node, world.volumes) if reaches(volume, node) else None
        if left is not None and more > left:
            return Wait("VolumeResizeFailed", f"node {node.name} has no room: {_short(more, left)}", warning=True)
    return Resize(volume, wanted)


def _short(wanted: int, left: int) -> str:
    return f"{wanted} bytes more are asked for, {max(0, left)} are not promised to volumes"


def _unbound(claim: PersistentVolumeClaim, world: World, storage_class: StorageClass | None) -> Step:
    selected = claim.metadata.annotations.get(SELECTED_NODE)
    reserved = next((volume for volume in world.volumes if claims(volume, claim)), None)
    if reserved is not None and reserved.metadata.deletion_timestamp is None:
        return _when_filled(reserved)
    if claim.spec.data_source_ref is not None and is_local(storage_class):
        return _from_source(claim, storage_class, world)
    node = world.nodes.get(selected) if selected else None
    if waits_for_consumer(storage_class):
        if not selected:
            return Wait("WaitForFirstConsumer", "waiting for first consumer to be created before binding")
        if node is None:
            return Unselect(f'the node "{selected}" chosen for this claim does not exist any more')
    volume = best_volume(claim, world.volumes, node)
    if volume is not None:
        return Bind(volume)
    if storage_class is None or storage_class.provisioner == "kubernetes.io/no-provisioner":
        why = "no storage class is set" if storage_class is None else "its storage class does not make any"
        return Wait("FailedBinding", f"no persistent volumes available for this claim and {why}")
    if storage_class.provisioner != LOCAL_PROVISIONER:
        if claim.metadata.annotations.get(STORAGE_PROVISIONER) != storage_class.provisioner:
            return Entrust(storage_class.provisioner)
        return Wait(
            "ExternalProvisioning",
            "Waiting for a volume to be created either by the external provisioner "
            f"'{storage_class.provisioner}' or manually by the system administrator. If volume creation is delayed, "
            "please verify that the provisioner is running and correctly registered.",
        )
    return _local(claim, storage_class, node or _roomiest(world), world)


def _when_filled(volume: PersistentVolume) -> Step:
    if is_filled(volume):
        return Bind(volume)
    annotations = volume.metadata.annotations
    if NOT_FILLED in annotations:
        told = f"volume {volume.name} could not be filled from {annotations[FILL_FROM]}: {annotations[NOT_FILLED]}"
        return Wait("ProvisioningFailed", f"{told}; delete the claim, and make it again", warning=True)
    return Wait("Provisioning", f"volume {volume.name} is being filled from {annotations[FILL_FROM]}")


def _from_source(claim: PersistentVolumeClaim, storage_class: StorageClass | None, world: World) -> Step:
    """A volume on the node that has what it is to be filled with."""
    assert storage_class is not None
    found = source_of(claim, world.claims, world.volumes, world.snapshots)
    if isinstance(found, NoSource):
        return Wait("ProvisioningFailed", found.why, warning=True)
    if asked(claim) < found.size:
        told = f"{asked(claim)} bytes are asked for, and {found.what} needs {found.size}"
        return Wait("ProvisioningFailed", told, warning=True)
    selected = claim.metadata.annotations.get(SELECTED_NODE)
    if claim.metadata.annotations.get(SOURCE_NODE) != found.hostname:
        return Steer(found.hostname)
    node = next((n for n in world.nodes.values() if n.metadata.labels.get(_HOSTNAME, n.name) == found.hostname), None)
    if waits_for_consumer(storage_class) and not selected:
        return Wait("WaitForFirstConsumer", "waiting for first consumer to be created before binding")
    if node is None:
        told = f"{found.what} is on {found.hostname}, which is no node any more"
        return Wait("ProvisioningFailed", told, warning=True)
    if selected and selected != node.name:
        return Unselect(f"{found.what} is on the node {node.name}, not on {selected}")
    step = _local(claim, storage_class, node, world)
    if isinstance(step, Provision):
        step.tree["metadata"]["annotations"][FILL_FROM] = found.volume
    return step


def _roomiest(world: World) -> Node | None:
    """Where a volume is made that no pod has chosen a node for: where most is left."""
    able = [node for node in world.nodes.values() if node.metadata.annotations.get(VOLUMES_DIR) and _takes_pods(node)]
    return max(able, key=lambda node: (room(node, world.volumes) or 0, node.name), default=None)


def _takes_pods(node: Node) -> bool:
    ready = find(node.status.conditions, "Ready")
    return not node.spec.unschedulable and ready is not None and ready.status == "True"


def _local(claim: PersistentVolumeClaim, storage_class: StorageClass, node: Node | None, world: World) -> Step:
    """A volume on a node's disk, or why there cannot be one."""
    problem = ""
    if node is None:
        problem = "no ready node offers local volumes"
    elif (claim.spec.volume_mode or "Filesystem") != "Filesystem":
        problem = f"the storage class {storage_class.name} makes file systems only: set volumeMode: Filesystem"
    elif modes := sorted(set(claim.spec.access_modes) - _LOCAL_MODES):
        problem = (
            f"the storage class {storage_class.name} makes volumes on one node's disk, which cannot offer "
            f"{', '.join(modes)}: use ReadWriteOnce"
        )
    elif not node.metadata.annotations.get(VOLUMES_DIR):
        return Unselect(f"the node {node.name} offers no local volumes (it lacks the annotation {VOLUMES_DIR})")
    elif (left := room(node, world.volumes)) is not None and asked(claim) > left:
        return Unselect(f"the node {node.name} has no room: {_short(asked(claim), left)}")
    if problem or node is None:
        return Wait("ProvisioningFailed", problem, warning=True)
    name = f"pvc-{claim.metadata.uid}"
    return Provision(name, _local_volume(name, claim, storage_class, node))


def _local_volume(name: str, claim: PersistentVolumeClaim, storage_class: StorageClass, node: Node) -> Obj:
    hostname = node.metadata.labels.get(_HOSTNAME, node.name)
    requirement = {"key": _HOSTNAME, "operator": "In", "values": [hostname]}
    return {
        "metadata": {
            "name": name,
            "annotations": {PROVISIONED_BY: LOCAL_PROVISIONER, BOUND_BY_CONTROLLER: "yes"},
            "finalizers": [PV_PROTECTION, LOCAL_FINALIZER],
        },
        "spec": {
            "capacity": {"storage": claim.spec.resources.requests.get("storage", "0")},
            "accessModes": claim.spec.access_modes,
            "volumeMode": "Filesystem",
            "persistentVolumeReclaimPolicy": storage_class.reclaim_policy or "Delete",
            "storageClassName": storage_class.name,
            "claimRef": claim_reference(claim),
            "local": {"path": f"{node.metadata.annotations[VOLUMES_DIR].rstrip('/')}/{name}"},
            "nodeAffinity": {"required": {"nodeSelectorTerms": [{"matchExpressions": [requirement]}]}},
        },
    }


def claim_reference(claim: PersistentVolumeClaim) -> Obj:
    """How a volume names the claim it belongs to."""
    return {
        "apiVersion": "v1",
        "kind": "PersistentVolumeClaim",
        "namespace": claim.namespace,
        "name": claim.name,
        "uid": claim.metadata.uid,
    }
