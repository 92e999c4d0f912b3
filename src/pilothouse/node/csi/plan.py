"""What a driver is asked for a volume. Pure.

Source: the CSI plugin of Kubernetes' kubelet (`csi_mounter`, `csi_attacher`, `csi_client`).
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field

from pilothouse.kinds.core.csi_volume import SecretReference
from pilothouse.kinds.core.persistent_volume import PersistentVolume
from pilothouse.kinds.core.pod import Pod, Volume
from pilothouse.kinds.storage.csi_driver import CSIDriver, CSIDriverSpec
from pilothouse.node.csi.paths import Record
from pilothouse.node.volumes.payload import VolumeError
from pilothouse.node.wire import csi_pb2 as wire
from pilothouse.reconcile.csi import attachment_name, needs_attaching

PERSISTENT, EPHEMERAL = "Persistent", "Ephemeral"
STAGES = wire.NodeServiceCapability.RPC.STAGE_UNSTAGE_VOLUME
EXPANDS = wire.NodeServiceCapability.RPC.EXPAND_VOLUME
TELLS_WRITERS_APART = wire.NodeServiceCapability.RPC.SINGLE_NODE_MULTI_WRITER
SETS_GROUP = wire.NodeServiceCapability.RPC.VOLUME_MOUNT_GROUP
_MODES = {
    "ReadWriteOnce": wire.VolumeCapability.AccessMode.SINGLE_NODE_WRITER,
    "ReadOnlyMany": wire.VolumeCapability.AccessMode.MULTI_NODE_READER_ONLY,
    "ReadWriteMany": wire.VolumeCapability.AccessMode.MULTI_NODE_MULTI_WRITER,
    "ReadWriteOncePod": wire.VolumeCapability.AccessMode.SINGLE_NODE_WRITER,
}
_MODES_APART = _MODES | {
    "ReadWriteOnce": wire.VolumeCapability.AccessMode.SINGLE_NODE_MULTI_WRITER,
    "ReadWriteOncePod": wire.VolumeCapability.AccessMode.SINGLE_NODE_SINGLE_WRITER,
}


@dataclass(frozen=True, slots=True)
class Wanted:
    """A volume as a pod wants it."""

    record: Record
    fs_type: str = ""
    mount_options: tuple[str, ...] = ()
    access_modes: tuple[str, ...] = ()
    read_only: bool = False
    attributes: Mapping[str, str] = field(default_factory=dict)
    stage_secret: SecretReference | None = None
    publish_secret: SecretReference | None = None
    expand_secret: SecretReference | None = None

    @property
    def ephemeral(self) -> bool:
        return self.record.mode == EPHEMERAL


def of_persistent(volume: PersistentVolume, node: str, *, read_only: bool) -> Wanted:
    """What is wanted of a PersistentVolume of a driver."""
    source = volume.spec.csi
    assert source is not None
    record = Record(
        driver=source.driver,
        handle=source.volume_handle,
        name=volume.name,
        node=node,
        attachment=attachment_name(source.volume_handle, source.driver, node),
        mode=PERSISTENT,
        block=volume.spec.volume_mode == "Block",
    )
    return Wanted(
        record,
        fs_type=source.fs_type,
        mount_options=tuple(volume.spec.mount_options),
        access_modes=tuple(volume.spec.access_modes),
        read_only=read_only,
        attributes=source.volume_attributes,
        stage_secret=source.node_stage_secret_ref,
        publish_secret=source.node_publish_secret_ref,
        expand_secret=source.node_expand_secret_ref,
    )


def of_inline(pod: Pod, volume: Volume, node: str) -> Wanted:
    """What is wanted of a volume that the driver makes for the pod alone."""
    source = volume.csi
    assert source is not None
    handle = "csi-" + hashlib.sha256(f"{pod.metadata.uid}{volume.name}".encode()).hexdigest()
    record = Record(driver=source.driver, handle=handle, name=volume.name, node=node, mode=EPHEMERAL)
    secret = source.node_publish_secret_ref
    return Wanted(
        record,
        fs_type=source.fs_type or "",
        read_only=bool(source.read_only),
        attributes=source.volume_attributes,
        publish_secret=SecretReference(name=secret.name, namespace=pod.namespace) if secret is not None else None,
    )


def check_mode(wanted: Wanted, driver: CSIDriver | None) -> None:
    """Whether the driver makes volumes of that life. Raises VolumeError."""
    modes = (driver.spec.volume_lifecycle_modes if driver is not None else None) or [PERSISTENT]
    if wanted.record.mode not in modes:
        raise VolumeError(
            f'volume mode "{wanted.record.mode}" not supported by driver {wanted.record.driver} '
            f"(its CSIDriver says: {', '.join(modes)})"
        )


def must_attach(wanted: Wanted, driver: CSIDriver | None) -> bool:
    """Whether a VolumeAttachment has to say that the volume is attached."""
    return not wanted.ephemeral and needs_attaching(driver)


def gives_group(wanted: Wanted, driver: CSIDriver | None, abilities: frozenset[int], group: int | None) -> bool:
    """Whether this node gives the volume's files to the pod's group."""
    policy = (driver.spec if driver is not None else CSIDriverSpec()).fs_group_policy
    if group is None or wanted.read_only or wanted.record.block or policy == "None" or SETS_GROUP in abilities:
        return False
    return policy == "File" or bool(wanted.fs_type and set(wanted.access_modes) & {"ReadWriteOnce", "ReadWriteOncePod"})


def capability(wanted: Wanted, abilities: frozenset[int], group: int | None) -> wire.VolumeCapability:
    """How the volume is to be used; of several access modes the first counts, as upstream has it."""
    modes = _MODES_APART if TELLS_WRITERS_APART in abilities else _MODES
    mode = modes.get((*wanted.access_modes, "ReadWriteOnce")[0], wire.VolumeCapability.AccessMode.UNKNOWN)
    result = wire.VolumeCapability(access_mode=wire.VolumeCapability.AccessMode(mode=mode))
    if wanted.record.block:
        result.block.SetInParent()
    else:
        result.mount.fs_type = wanted.fs_type
        result.mount.mount_flags.extend(wanted.mount_options)
        if group is not None and SETS_GROUP in abilities:
            result.mount.volume_mount_group = str(group)
    return result


def volume_context(
    wanted: Wanted, pod: Pod, driver: CSIDriver | None, tokens: Mapping[str, Mapping[str, str]]
) -> dict[str, str]:
    """The driver's own words, and what it wants to know of the pod; `tokens` are by audience."""
    context = dict(wanted.attributes)
    if driver is not None and driver.spec.pod_info_on_mount:
        context |= {
            "csi.storage.k8s.io/pod.name": pod.name,
            "csi.storage.k8s.io/pod.namespace": pod.namespace,
            "csi.storage.k8s.io/pod.uid": pod.metadata.uid,
            "csi.storage.k8s.io/serviceAccount.name": pod.spec.service_account_name,
            "csi.storage.k8s.io/ephemeral": "true" if wanted.ephemeral else "false",
        }
    if tokens:
        context["csi.storage.k8s.io/serviceAccount.tokens"] = json.dumps(tokens, sort_keys=True)
    return context
