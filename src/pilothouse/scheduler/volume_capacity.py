"""Whether a CSI driver has room for a volume where a node stands, by what its provisioner publishes. Pure.

Source: `hasEnoughCapacity` of Kubernetes' scheduler plugin VolumeBinding. A driver that publishes nothing is taken to
have room everywhere; one whose CSIDriver says `storageCapacity` has it only where a CSIStorageCapacity tells of it.
"""

from __future__ import annotations

from collections.abc import Mapping

from pilothouse.kinds.core.persistent_volume_claim import PersistentVolumeClaim
from pilothouse.kinds.storage.storage_class import StorageClass
from pilothouse.machinery.quantity import to_bytes
from pilothouse.reconcile.labels import matches
from pilothouse.reconcile.volumes import asked
from pilothouse.scheduler.snapshot import Storage


def has_room(
    claim: PersistentVolumeClaim, storage_class: StorageClass, labels: Mapping[str, str], storage: Storage
) -> bool:
    """Whether a volume for the claim can be made for a node with these labels."""
    driver = storage.drivers.get(storage_class.provisioner)
    size = asked(claim)
    if driver is None or not driver.spec.storage_capacity or not size:
        return True
    return any(
        capacity.storage_class_name == storage_class.name
        and (most := capacity.maximum_volume_size or capacity.capacity) is not None
        and to_bytes(most) >= size
        and matches(capacity.node_topology, labels)
        for capacity in storage.capacities
    )
