"""A claim that names no class gets the default one. Source: upstream's admission plugin DefaultStorageClass."""

from __future__ import annotations

from pilothouse.apiserver.chain import AdmissionRequest, ObjectReader
from pilothouse.kinds.core.persistent_volume_claim import PersistentVolumeClaim
from pilothouse.kinds.storage.storage_class import StorageClass
from pilothouse.machinery.objects import Obj

IS_DEFAULT = "storageclass.kubernetes.io/is-default-class"
_BETA = "volume.beta.kubernetes.io/storage-class"


class DefaultStorageClass:
    def __init__(self, objects: ObjectReader) -> None:
        self._objects = objects

    async def mutate(self, request: AdmissionRequest) -> None:
        claim = request.object
        if request.resource != PersistentVolumeClaim.resource or request.operation != "CREATE" or claim is None:
            return
        spec = claim.setdefault("spec", {})
        # An empty name is a choice: only volumes without a class.
        if spec.get("storageClassName") is not None or _BETA in (claim["metadata"].get("annotations") or {}):
            return
        classes = [found for found in self._objects.list(StorageClass.resource) if _is_default(found)]
        if classes:
            # The newest counts, then the first by name.
            classes.sort(key=lambda found: str(found["metadata"]["name"]))
            newest = max(classes, key=lambda found: found["metadata"].get("creationTimestamp") or "")
            spec["storageClassName"] = newest["metadata"]["name"]


def _is_default(storage_class: Obj) -> bool:
    return (storage_class["metadata"].get("annotations") or {}).get(IS_DEFAULT) == "true"
