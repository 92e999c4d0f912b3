"""persistentVolumeClaim and ephemeral volumes: the claim's volume, a directory of this host."""

from __future__ import annotations

from pathlib import Path

from pilothouse.client.client import Client
from pilothouse.kinds.core.persistent_volume import PersistentVolume
from pilothouse.kinds.core.persistent_volume_claim import PersistentVolumeClaim
from pilothouse.kinds.core.pod import Pod
from pilothouse.node.volumes.payload import VolumeError
from pilothouse.reconcile.snapshots import is_filled

PROVISIONED_BY = "pv.kubernetes.io/provisioned-by"
PROVISIONER = "pilothouse.io/local"


async def find(
    client: Client, pod: Pod, claim_name: str, *, owned: bool
) -> tuple[PersistentVolumeClaim, PersistentVolume]:
    """The pod's claim and the volume it is bound to; `owned` claims must have been made for this very pod.

    Raises VolumeError, ApiError.
    """
    claim = await client.find(PersistentVolumeClaim, claim_name, pod.namespace)
    if claim is None:
        raise VolumeError(f'persistentvolumeclaim "{claim_name}" not found')
    if owned and not any(ref.uid == pod.metadata.uid for ref in claim.metadata.owner_references):
        raise VolumeError(f'persistentvolumeclaim "{claim_name}" was not created for this pod')
    if claim.metadata.deletion_timestamp is not None:
        raise VolumeError(f'persistentvolumeclaim "{claim_name}" is being deleted')
    if claim.status.phase != "Bound" or not claim.spec.volume_name:
        raise VolumeError(f'persistentvolumeclaim "{claim_name}" is not bound')
    volume = await client.find(PersistentVolume, claim.spec.volume_name)
    if volume is None:
        raise VolumeError(f'persistentvolume "{claim.spec.volume_name}" not found')
    reference = volume.spec.claim_ref
    if reference is None or reference.uid != claim.metadata.uid:
        raise VolumeError(f'persistentvolume "{volume.name}" is not bound to claim "{claim_name}"')
    return claim, volume


def is_block(volume: PersistentVolume) -> bool:
    """Whether a volume is a device and not what is in a file system."""
    return volume.spec.volume_mode == "Block"


def set_up(volume: PersistentVolume) -> Path:
    """The volume's directory (one of ours is made when it is missing) or block device. Raises VolumeError, OSError."""
    if volume.spec.local is not None:
        path = Path(volume.spec.local.path)
    elif volume.spec.host_path is not None:
        path = Path(volume.spec.host_path.path)
    else:
        raise VolumeError(
            f'persistentvolume "{volume.name}" is of a type this node cannot mount (known: local, hostPath, csi)'
        )
    if is_block(volume):
        if not path.is_block_device():
            raise VolumeError(f'persistentvolume "{volume.name}": {path} is no block device of this node')
        return path
    if not is_filled(volume):
        raise VolumeError(f'persistentvolume "{volume.name}" is not filled yet')
    if volume.metadata.annotations.get(PROVISIONED_BY) == PROVISIONER and not path.exists():
        path.mkdir(parents=True)
        path.chmod(0o777)
    if not path.is_dir():
        raise VolumeError(f'persistentvolume "{volume.name}": directory {path} does not exist on this node')
    return path
