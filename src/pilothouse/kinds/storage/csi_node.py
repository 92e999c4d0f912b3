"""CSINode."""

from __future__ import annotations

from typing import ClassVar

import msgspec

from pilothouse.kinds.columns import AGE, NAME, Column
from pilothouse.kinds.core.csi_volume import check_driver_name
from pilothouse.kinds.kind import Kind
from pilothouse.kinds.problems import Problems, section
from pilothouse.kinds.view import Object, View
from pilothouse.machinery import names
from pilothouse.machinery.objects import Obj, Resource


class VolumeNodeResources(View):
    count: int | None = None


class CSINodeDriver(View):
    name: str = ""
    node_id: str = ""
    topology_keys: list[str] = []
    allocatable: VolumeNodeResources | None = None


class CSINodeSpec(View):
    drivers: list[CSINodeDriver] = []


class CSINode(Object):
    resource: ClassVar[Resource] = Resource("storage.k8s.io", "v1", "CSINode", "csinodes", False)

    spec: CSINodeSpec = msgspec.field(default_factory=CSINodeSpec)


_NODE_ID_MOST = 256


def _rules(obj: Obj, old: Obj | None, problems: Problems) -> None:
    """Source: `ValidateCSINode` and `ValidateCSINodeUpdate` of Kubernetes' storage validation."""
    drivers = section(obj, "spec").get("drivers") or []
    seen: set[str] = set()
    for index, driver in enumerate(drivers):
        at, name = f"spec.drivers[{index}]", driver.get("name") or ""
        _check_driver(driver, at, problems)
        if name in seen:
            problems.duplicate(f"{at}.name", name)
        seen.add(name)
    before = {driver.get("name"): driver for driver in section(old or {}, "spec").get("drivers") or ()}
    for driver in drivers:
        earlier = before.get(driver.get("name"))
        if earlier is not None:
            # How many volumes the node takes may change; who it is to the driver may not.
            problems.immutable("spec.drivers", _lasting(driver), _lasting(earlier))


def _lasting(driver: Obj) -> Obj:
    return {key: value for key, value in driver.items() if key != "allocatable"}


def _check_driver(driver: Obj, path: str, problems: Problems) -> None:
    check_driver_name(driver.get("name") or "", f"{path}.name", problems)
    node_id = driver.get("nodeID") or ""
    if not node_id:
        problems.required(f"{path}.nodeID")
    if len(node_id) > _NODE_ID_MOST:
        problems.invalid(f"{path}.nodeID", node_id, f"must be {_NODE_ID_MOST} characters or less")
    problems.not_negative(f"{path}.allocatable.count", section(driver, "allocatable").get("count"))
    keys: set[str] = set()
    for key in driver.get("topologyKeys") or ():
        if not key:
            problems.required(path)
        if key in keys:
            problems.duplicate(path, key)
        keys.add(key)
        problems.invalid_each(path, key, names.label_key(key))


KIND = Kind(
    view=CSINode,
    columns=(
        NAME,
        Column("Drivers", lambda obj: len(section(obj, "spec").get("drivers") or ()), "Drivers on it.", type="integer"),
        AGE,
    ),
    rules=_rules,
    returns_deleted=True,
)
