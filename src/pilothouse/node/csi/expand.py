"""A volume that has grown: the driver makes its file system fill it, and the claim says how large it is now.

Source: `NodeExpandVolume` of Kubernetes' kubelet. Who grew the volume (upstream's `external-resizer`) has written the
new size into the PersistentVolume; the claim's status lags behind until the node is done.
"""

from __future__ import annotations

from pilothouse.client.client import Client
from pilothouse.kinds.core.persistent_volume import PersistentVolume
from pilothouse.kinds.core.persistent_volume_claim import PersistentVolumeClaim
from pilothouse.kinds.core.pod import Pod
from pilothouse.kinds.view import to_tree
from pilothouse.machinery.objects import Obj
from pilothouse.machinery.quantity import to_bytes
from pilothouse.node.csi.paths import CsiLayout
from pilothouse.node.csi.plan import EXPANDS, STAGES, Wanted, capability
from pilothouse.node.csi.registry import Registry
from pilothouse.node.csi.secrets import secret_data
from pilothouse.node.references import References
from pilothouse.node.wire import csi_pb2 as wire

_PENDING = frozenset({"FileSystemResizePending", "Resizing"})


class Expansion:
    def __init__(self, client: Client, references: References, layout: CsiLayout, registry: Registry) -> None:
        self._client = client
        self._references = references
        self._layout = layout
        self._registry = registry

    async def catch_up(
        self, pod: Pod, claim: PersistentVolumeClaim, volume: PersistentVolume, wanted: Wanted, group: int | None
    ) -> bool:
        """Expands what has grown. Whether the driver can, so that it is worth looking again. Raises VolumeError,
        ApiError."""
        if wanted.read_only or not self._registry.has(wanted.record.driver):
            return False
        driver = await self._registry.get(wanted.record.driver)
        abilities = await driver.abilities()
        if EXPANDS not in abilities:
            return False
        size = volume.spec.capacity.get("storage", "0")
        if to_bytes(size) <= to_bytes(claim.status.capacity.get("storage", size)):
            return True
        staging = str(self._layout.staging(wanted.record)) if STAGES in abilities else ""
        request = wire.NodeExpandVolumeRequest(
            volume_id=wanted.record.handle,
            volume_path=str(self._layout.target(pod.metadata.uid, wanted.record)),
            capacity_range=wire.CapacityRange(required_bytes=to_bytes(size)),
            staging_target_path=staging,
            volume_capability=capability(wanted, abilities, group),
            secrets=await secret_data(self._references, pod.metadata.uid, wanted.expand_secret),
        )
        await driver.call("NodeExpandVolume", request, wire.NodeExpandVolumeResponse)
        left = [to_tree(condition) for condition in claim.status.conditions if condition.type not in _PENDING]
        status: Obj = {"capacity": {"storage": size}, "conditions": left or None}
        if "storage" in claim.status.allocated_resource_statuses:
            status["allocatedResourceStatuses"] = {"storage": None}
        patch = {"metadata": {"uid": claim.metadata.uid}, "status": status}
        await self._client.patch(PersistentVolumeClaim, claim.name, claim.namespace, patch, subresource="status")
        return True
