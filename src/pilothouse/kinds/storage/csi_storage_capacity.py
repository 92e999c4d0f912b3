"""CSIStorageCapacity."""

from __future__ import annotations

from typing import ClassVar

from pilothouse.kinds.columns import NAME, UNSET, Column, field
from pilothouse.kinds.core.quantities import canonical_quantity, check_quantity
from pilothouse.kinds.kind import Kind
from pilothouse.kinds.label_selectors import check_label_selector
from pilothouse.kinds.problems import Problems
from pilothouse.kinds.view import LabelSelector, Object
from pilothouse.machinery import names
from pilothouse.machinery.objects import Obj, Resource


class CSIStorageCapacity(Object):
    resource: ClassVar[Resource] = Resource("storage.k8s.io", "v1", "CSIStorageCapacity", "csistoragecapacities", True)

    node_topology: LabelSelector | None = None
    storage_class_name: str = ""
    capacity: str | None = None
    maximum_volume_size: str | None = None


def _defaults(obj: Obj) -> None:
    for key in ("capacity", "maximumVolumeSize"):
        if key in obj:
            canonical_quantity(obj, key, obj[key])


def _rules(obj: Obj, old: Obj | None, problems: Problems) -> None:
    """Source: `ValidateCSIStorageCapacity` and `ValidateCSIStorageCapacityUpdate` of Kubernetes' storage validation."""
    topology, name = obj.get("nodeTopology"), obj.get("storageClassName") or ""
    if topology is not None:
        check_label_selector(topology, "nodeTopology", problems)
    problems.invalid_each("storageClassName", name, names.dns1123_subdomain(name))
    if "capacity" in obj:
        check_quantity(obj["capacity"], "capacity", problems)
    if old is not None:
        problems.immutable("nodeTopology", topology, old.get("nodeTopology"))
        problems.immutable("storageClassName", name, old.get("storageClassName") or "")


KIND = Kind(
    view=CSIStorageCapacity,
    columns=(
        NAME,
        Column("StorageClassName", field("storageClassName"), "StorageClass it is about."),
        Column("Capacity", field("capacity", default=UNSET), "Space left."),
    ),
    defaults=_defaults,
    rules=_rules,
)
