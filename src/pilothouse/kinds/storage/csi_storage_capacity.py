"""CSIStorageCapacity."""

from __future__ import annotations

from typing import ClassVar

from pilothouse.kinds.columns import NAME, UNSET, Column, field
from pilothouse.kinds.core.quantities import canonical_quantity
from pilothouse.kinds.kind import Kind
from pilothouse.kinds.view import Object
from pilothouse.machinery.objects import Obj, Resource


class CSIStorageCapacity(Object):
    resource: ClassVar[Resource] = Resource("storage.k8s.io", "v1", "CSIStorageCapacity", "csistoragecapacities", True)


def _defaults(obj: Obj) -> None:
    for key in ("capacity", "maximumVolumeSize"):
        if key in obj:
            canonical_quantity(obj, key, obj[key])


KIND = Kind(
    view=CSIStorageCapacity,
    columns=(
        NAME,
        Column("StorageClassName", field("storageClassName"), "StorageClass it is about."),
        Column("Capacity", field("capacity", default=UNSET), "Space left."),
    ),
    defaults=_defaults,
)
