"""A bound claim grows only if its class allows it. Source: upstream's admission plugin PersistentVolumeClaimResize."""

from __future__ import annotations

from pilothouse.apiserver.admission.refuse import forbidden
from pilothouse.apiserver.chain import AdmissionRequest, ObjectReader
from pilothouse.kinds.core.persistent_volume_claim import PersistentVolumeClaim
from pilothouse.kinds.storage.storage_class import StorageClass
from pilothouse.machinery.objects import Obj
from pilothouse.machinery.quantity import to_bytes


class ClaimResize:
    def __init__(self, objects: ObjectReader) -> None:
        self._objects = objects

    async def validate(self, request: AdmissionRequest) -> None:
        claim, old = request.object, request.old_object
        if request.resource != PersistentVolumeClaim.resource or request.subresource or not claim or not old:
            return
        if (old.get("status") or {}).get("phase") != "Bound" or _size(claim) <= _size(old):
            return
        name = (old.get("spec") or {}).get("storageClassName")
        found = self._objects.get(StorageClass.resource, "", name) if name else None
        if not found or not found.get("allowVolumeExpansion"):
            why = "only dynamically provisioned pvc can be resized and the storageclass that provisions the pvc must"
            raise forbidden(request, f"{why} support resize")


def _size(claim: Obj) -> int:
    requests = ((claim.get("spec") or {}).get("resources") or {}).get("requests") or {}
    try:
        return to_bytes(requests.get("storage") or "0")
    except ValueError:
        return 0
