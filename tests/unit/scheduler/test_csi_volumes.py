"""Volumes of CSI drivers: how many a node takes, and where there is room for one."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest
from world import node, pod, snapshot

from pilothouse.kinds.core.persistent_volume import PersistentVolume
from pilothouse.kinds.core.persistent_volume_claim import PersistentVolumeClaim
from pilothouse.kinds.storage.csi_driver import CSIDriver
from pilothouse.kinds.storage.csi_node import CSINode
from pilothouse.kinds.storage.csi_storage_capacity import CSIStorageCapacity
from pilothouse.kinds.storage.storage_class import StorageClass
from pilothouse.scheduler.decide import Unschedulable, schedule
from pilothouse.scheduler.pod_info import PodInfo
from pilothouse.scheduler.snapshot import Snapshot, Storage

DRIVER = "disk.example.com"


def claim(name: str, volume: str = "") -> PersistentVolumeClaim:
    tree = {
        "metadata": {"name": name, "namespace": "shop"},
        "spec": {
            "volumeName": volume,
            "storageClassName": "disk",
            "accessModes": ["ReadWriteOnce"],
            "resources": {"requests": {"storage": "5Gi"}},
        },
        "status": {"phase": "Bound" if volume else "Pending"},
    }
    return msgspec.convert(tree, PersistentVolumeClaim)


def volume(name: str) -> PersistentVolume:
    tree = {"metadata": {"name": name}, "spec": {"csi": {"driver": DRIVER, "volumeHandle": f"handle-{name}"}}}
    return msgspec.convert(tree, PersistentVolume)


def disk_class(**more: Any) -> StorageClass:
    tree = {
        "metadata": {"name": "disk"},
        "provisioner": DRIVER,
        "volumeBindingMode": "WaitForFirstConsumer",
        **more,
    }
    return msgspec.convert(tree, StorageClass)


def capacity(zone: str, size: str, **more: Any) -> CSIStorageCapacity:
    topology = {"nodeTopology": {"matchLabels": {"zone": zone}}}
    tree = {"metadata": {"name": zone}, "storageClassName": "disk", "capacity": size, **topology, **more}
    return msgspec.convert(tree, CSIStorageCapacity)


def taking(most: int) -> dict[str, CSINode]:
    entry = {"name": DRIVER, "nodeID": "i", "allocatable": {"count": most}}
    return {"n": msgspec.convert({"metadata": {"name": "n"}, "spec": {"drivers": [entry]}}, CSINode)}


def with_claims(name: str, *claims: str) -> PodInfo:
    volumes = [{"name": key, "persistentVolumeClaim": {"claimName": key}} for key in claims]
    return pod(name, volumes=volumes)


def outcome(world: Snapshot, wanted: PodInfo) -> str:
    decision = schedule(wanted, world)
    return decision.message if isinstance(decision, Unschedulable) else decision.node


def test_a_node_takes_as_many_volumes_as_its_driver_says() -> None:
    world = snapshot(node("n"))
    claims = [claim("a", "pv-a"), claim("b", "pv-b"), claim("new")]
    world.storage = Storage(
        {one.key: one for one in claims},
        {name: volume(name) for name in ("pv-a", "pv-b")},
        {"disk": disk_class()},
        taking(2),
    )
    world.put_pod(with_claims("first", "a"), "n")
    assert outcome(world, with_claims("second", "b")) == "n"
    # A volume that is there counts once, and one that has yet to be made counts too.
    assert outcome(world, with_claims("again", "a", "b")) == "n"
    assert "1 node(s) exceed max volume count" in outcome(world, with_claims("third", "b", "new"))
    assert outcome(world, with_claims("fourth", "a", "new")) == "n"


@pytest.mark.parametrize(
    ("capacities", "expected"),
    [
        ([capacity("a", "1Gi"), capacity("b", "10Gi")], "n2"),
        ([capacity("a", "10Gi", maximumVolumeSize="1Gi")], "did not have enough free storage"),
        ([], "did not have enough free storage"),
    ],
)
def test_a_volume_is_made_where_there_is_room(capacities: list[CSIStorageCapacity], expected: str) -> None:
    world = snapshot(node("n1", labels={"zone": "a"}), node("n2", labels={"zone": "b"}))
    described = {"metadata": {"name": DRIVER}, "spec": {"storageCapacity": True}}
    storage = {"drivers": {DRIVER: msgspec.convert(described, CSIDriver)}, "capacities": capacities}
    world.storage = Storage({"shop/new": claim("new")}, {}, {"disk": disk_class()}, **storage)
    assert expected in outcome(world, with_claims("p", "new"))


def test_a_class_may_be_for_some_places_only() -> None:
    world = snapshot(node("n1", labels={"zone": "a"}), node("n2", labels={"zone": "b"}))
    terms = [{"matchLabelExpressions": [{"key": "zone", "values": ["b", "c"]}]}]
    world.storage = Storage({"shop/new": claim("new")}, {}, {"disk": disk_class(allowedTopologies=terms)})
    assert outcome(world, with_claims("p", "new")) == "n2"
