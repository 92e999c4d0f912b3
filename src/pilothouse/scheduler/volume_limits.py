"""How many volumes of a CSI driver a node takes. Pure.

Source: Kubernetes' scheduler plugin NodeVolumeLimits. What is counted is volumes, not pods: one that several pods share
counts once, and a claim whose volume has yet to be made counts as one of its class's driver.
"""

from __future__ import annotations

from collections.abc import Iterator

from pilothouse.kinds.core.persistent_volume_claim import PersistentVolumeClaim
from pilothouse.scheduler.pod_info import PodInfo
from pilothouse.scheduler.snapshot import NodeInfo, Storage

EXCEEDED = "node(s) exceed max volume count"


def exceeds(pod: PodInfo, info: NodeInfo, storage: Storage) -> bool:
    """Whether the pod's claims are more than a driver of the node takes."""
    csi_node = storage.csi_nodes.get(info.name)
    if csi_node is None:
        return False
    most = {
        driver.name: driver.allocatable.count
        for driver in csi_node.spec.drivers
        if driver.allocatable is not None and driver.allocatable.count is not None
    }
    if not most:
        return False
    there = {volume for other in info.pods.values() if other.claims for volume in _volumes(other, storage)}
    fresh = {volume for volume in _volumes(pod, storage) if volume not in there}
    return any(
        sum(driver == name for driver, _ in (*there, *fresh)) > count
        for name, count in most.items()
        if any(driver == name for driver, _ in fresh)
    )


def _volumes(pod: PodInfo, storage: Storage) -> Iterator[tuple[str, str]]:
    """Driver and name of each volume."""
    for key in pod.claims:
        claim = storage.claims.get(key)
        if claim is not None and (volume := _volume(claim, storage)) is not None:
            yield volume


def _volume(claim: PersistentVolumeClaim, storage: Storage) -> tuple[str, str] | None:
    if claim.spec.volume_name:
        volume = storage.volumes.get(claim.spec.volume_name)
        source = volume.spec.csi if volume is not None else None
        return (source.driver, f"handle {source.volume_handle}") if source is not None else None
    storage_class = storage.classes.get(claim.spec.storage_class_name or "")
    return (storage_class.provisioner, f"claim {claim.key}") if storage_class is not None else None
