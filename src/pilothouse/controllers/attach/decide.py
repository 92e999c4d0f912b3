"""Which VolumeAttachments a node should have. Pure.

Source: the attach-detach controller of Kubernetes' controller manager.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field

from pilothouse.controllers.conditions import is_true
from pilothouse.controllers.pods import is_terminal
from pilothouse.kinds.core.node import Node
from pilothouse.kinds.core.persistent_volume import PersistentVolume
from pilothouse.kinds.core.persistent_volume_claim import PersistentVolumeClaim
from pilothouse.kinds.core.pod import Pod
from pilothouse.kinds.storage.csi_driver import CSIDriver
from pilothouse.kinds.storage.volume_attachment import VolumeAttachment
from pilothouse.machinery.objects import Obj
from pilothouse.reconcile.csi import attachment_name, needs_attaching, unique_name

FORCE_SECONDS = 360.0
"""How long a node that does not answer may keep a volume that none of its pods needs; upstream's figure."""
_OUT_OF_SERVICE = "node.kubernetes.io/out-of-service"
_SHARED = frozenset({"ReadWriteMany", "ReadOnlyMany"})


@dataclass(frozen=True, slots=True)
class World:
    claim: Callable[[str], PersistentVolumeClaim | None]
    """By `namespace/name`."""
    volume: Callable[[str], PersistentVolume | None]
    driver: Callable[[str], CSIDriver | None]
    attachments: Iterable[VolumeAttachment]
    """Those to the node."""
    elsewhere: Callable[[str], bool]
    """Whether a volume, by name, is attached to another node, or about to be."""


@dataclass(slots=True)
class Plan:
    create: dict[str, Obj] = field(default_factory=dict)
    delete: list[str] = field(default_factory=list)
    blocked: list[str] = field(default_factory=list)
    """Volumes that are attached to another node and may be to one only."""
    users: dict[str, list[Pod]] = field(default_factory=dict)
    """Pods by the volume that they need attached."""
    kept: list[str] = field(default_factory=list)
    """Attachments that nobody needs and that the node still has in use."""


def decide(name: str, node: Node | None, pods: Iterable[Pod], world: World, waited: Mapping[str, float]) -> Plan:
    """The plan for a node; `waited` is for how many seconds attachments were kept that nobody needs."""
    plan = Plan()
    mine = {attachment.name: attachment for attachment in world.attachments}
    wanted = set()
    for volume, users in _needed(pods, world):
        source = volume.spec.csi
        assert source is not None
        key = attachment_name(source.volume_handle, source.driver, name)
        wanted.add(key)
        plan.users[volume.name] = users
        if key in mine or node is None:
            continue
        if world.elsewhere(volume.name) and not _SHARED & set(volume.spec.access_modes):
            plan.blocked.append(volume.name)
            continue
        plan.create[key] = _tree(key, volume.name, source.driver, name)
    for key, attachment in mine.items():
        if key in wanted or attachment.metadata.deletion_timestamp is not None or not _is_ours(attachment, world):
            continue
        if _may_go(attachment, node, world, waited.get(key, 0.0)):
            plan.delete.append(key)
        else:
            plan.kept.append(key)
    return plan


def _needed(pods: Iterable[Pod], world: World) -> list[tuple[PersistentVolume, list[Pod]]]:
    found: dict[str, tuple[PersistentVolume, list[Pod]]] = {}
    for pod in pods:
        if is_terminal(pod):
            continue
        for name in claim_names(pod):
            claim = world.claim(f"{pod.namespace}/{name}")
            volume = world.volume(claim.spec.volume_name) if claim is not None and claim.spec.volume_name else None
            if volume is None or volume.spec.csi is None or claim is None or claim.status.phase != "Bound":
                continue
            if needs_attaching(world.driver(volume.spec.csi.driver)):
                found.setdefault(volume.name, (volume, []))[1].append(pod)
    return [found[name] for name in sorted(found)]


def claim_names(pod: Pod) -> list[str]:
    """The claims of a pod's volumes."""
    return [
        volume.persistent_volume_claim.claim_name
        if volume.persistent_volume_claim is not None
        else f"{pod.name}-{volume.name}"
        for volume in pod.spec.volumes
        if volume.persistent_volume_claim is not None or volume.ephemeral is not None
    ]


def _is_ours(attachment: VolumeAttachment, world: World) -> bool:
    """Whether it is of the kind that this controller makes: others may make their own."""
    volume = world.volume(attachment.spec.source.persistent_volume_name or "")
    if volume is None or volume.spec.csi is None:
        return attachment.name.startswith("csi-")
    source = volume.spec.csi
    return attachment.name == attachment_name(source.volume_handle, source.driver, attachment.spec.node_name)


def _may_go(attachment: VolumeAttachment, node: Node | None, world: World, waited: float) -> bool:
    """A volume in use is not taken away under the node, unless the node is given up."""
    if node is None or any(taint.key == _OUT_OF_SERVICE for taint in node.spec.taints):
        return True
    if not is_true(node.status.conditions, "Ready") and waited >= FORCE_SECONDS:
        return True
    volume = world.volume(attachment.spec.source.persistent_volume_name or "")
    if volume is None or volume.spec.csi is None:
        # Without the volume its name is not known: the node has to have nothing of the driver in use.
        return not any(
            name.startswith(unique_name(attachment.spec.attacher, "")) for name in node.status.volumes_in_use
        )
    return unique_name(volume.spec.csi.driver, volume.spec.csi.volume_handle) not in node.status.volumes_in_use


def _tree(name: str, volume: str, driver: str, node: str) -> Obj:
    source = {"persistentVolumeName": volume}
    return {"metadata": {"name": name}, "spec": {"attacher": driver, "nodeName": node, "source": source}}
