"""Kinds of CSI drivers: what is refused, and what may change."""

from __future__ import annotations

from typing import Any

import pytest

from pilothouse.kinds.core import persistent_volume
from pilothouse.kinds.storage import (
    csi_driver,
    csi_node,
    csi_storage_capacity,
    volume_attachment,
    volume_attributes_class,
)
from pilothouse.machinery.objects import Obj

from .trees import REMOVED, changed, faults

DRIVER: Obj = {"metadata": {"name": "example.com"}, "spec": {"attachRequired": True, "volumeLifecycleModes": []}}
NODE: Obj = {
    "metadata": {"name": "n1"},
    "spec": {"drivers": [{"name": "example.com", "nodeID": "i-1", "topologyKeys": ["example.com/zone"]}]},
}
ATTACHMENT: Obj = {
    "metadata": {"name": "csi-1"},
    "spec": {"attacher": "example.com", "nodeName": "n1", "source": {"persistentVolumeName": "pv1"}},
}
CAPACITY: Obj = {"metadata": {"name": "c", "namespace": "ns"}, "storageClassName": "fast", "capacity": "1Gi"}
VOLUME: Obj = {
    "metadata": {"name": "pv1"},
    "spec": {
        "capacity": {"storage": "1Gi"},
        "accessModes": ["ReadWriteOnce"],
        "persistentVolumeReclaimPolicy": "Delete",
        "csi": {"driver": "example.com", "volumeHandle": "v1"},
    },
}


@pytest.mark.parametrize(
    ("path", "value", "expected"),
    [
        (
            "fsGroupPolicy",
            "Some",
            'spec.fsGroupPolicy: Unsupported value: "Some": supported values: "File", "None", '
            '"ReadWriteOnceWithFSType"',
        ),
        (
            "tokenRequests",
            [{"audience": "a", "expirationSeconds": 60}],
            "spec.tokenRequests[0].expirationSeconds: Invalid value: 60: may not specify a duration less than 10 "
            "minutes",
        ),
        (
            "tokenRequests",
            [{"audience": "a"}, {"audience": "a"}],
            'spec.tokenRequests[1].audience: Duplicate value: "a"',
        ),
        (
            "volumeLifecycleModes",
            ["Eternal"],
            'spec.volumeLifecycleModes: Unsupported value: "Eternal": supported values: "Persistent", "Ephemeral"',
        ),
    ],
)
def test_drivers(path: str, value: Any, expected: str) -> None:
    assert faults(csi_driver.KIND, changed(DRIVER, f"spec.{path}", value)) == [expected]


def test_what_of_a_driver_may_change() -> None:
    assert faults(csi_driver.KIND, changed(DRIVER, "spec.podInfoOnMount", True), DRIVER) == []
    assert faults(csi_driver.KIND, changed(DRIVER, "spec.attachRequired", False), DRIVER) == [
        "spec.attachedRequired: Invalid value: false: field is immutable"
    ]


def test_what_a_node_says_of_its_drivers() -> None:
    twice = changed(NODE, "spec.drivers", [*NODE["spec"]["drivers"], {"name": "example.com", "nodeID": ""}])
    assert faults(csi_node.KIND, twice) == [
        "spec.drivers[1].nodeID: Required value",
        'spec.drivers[1].name: Duplicate value: "example.com"',
    ]
    driver = NODE["spec"]["drivers"][0]
    fewer = changed(NODE, "spec.drivers", [{**driver, "allocatable": {"count": 3}}])
    assert faults(csi_node.KIND, fewer, NODE) == []
    assert faults(csi_node.KIND, changed(NODE, "spec.drivers", []), NODE) == []
    renamed = changed(NODE, "spec.drivers", [{"name": "example.com", "nodeID": "i-2"}])
    assert faults(csi_node.KIND, renamed, NODE) == [
        'spec.drivers: Invalid value: {"name":"example.com","nodeID":"i-2"}: field is immutable'
    ]
    negative = changed(NODE, "spec.drivers", [{**driver, "allocatable": {"count": -1}}])
    assert faults(csi_node.KIND, negative) == [
        "spec.drivers[0].allocatable.count: Invalid value: -1: must be greater than or equal to 0"
    ]


@pytest.mark.parametrize(
    ("path", "value", "expected"),
    [
        ("spec.attacher", "", "spec.attacher: Required value"),
        (
            "spec.source.persistentVolumeName",
            REMOVED,
            "spec.source: Required value: must specify exactly one of inlineVolumeSpec and persistentVolumeName",
        ),
        (
            "status",
            {"attached": False, "attachError": {"message": "x" * 1025}},
            "status.attachError.message: Too long: may not be more than 262144 bytes",
        ),
    ],
)
def test_attachments(path: str, value: Any, expected: str) -> None:
    assert expected in faults(volume_attachment.KIND, changed(ATTACHMENT, path, value))


def test_what_is_attached_stays() -> None:
    assert faults(volume_attachment.KIND, changed(ATTACHMENT, "status", {"attached": True}), ATTACHMENT) == []
    (fault,) = faults(volume_attachment.KIND, changed(ATTACHMENT, "spec.nodeName", "n2"), ATTACHMENT)
    assert fault.startswith("spec: Invalid value: ")
    assert fault.endswith(": field is immutable")


def test_capacities_and_attributes() -> None:
    assert faults(csi_storage_capacity.KIND, changed(CAPACITY, "storageClassName", "slow"), CAPACITY) == [
        'storageClassName: Invalid value: "slow": field is immutable'
    ]
    attributes: Obj = {"metadata": {"name": "gold"}, "driverName": "example.com", "parameters": {"iops": "1"}}
    assert faults(volume_attributes_class.KIND, changed(attributes, "parameters", {}), attributes) == [
        "parameters: Forbidden: updates to parameters are forbidden.",
        "parameters: Required value: must contain at least one key/value pair",
    ]


@pytest.mark.parametrize(
    ("path", "value", "expected"),
    [
        ("volumeHandle", "", "spec.csi.volumeHandle: Required value"),
        (
            "nodeStageSecretRef",
            {"name": "s"},
            "spec.csi.nodeStageSecretRef.namespace: Required value",
        ),
        ("driver", "", "spec.csi.driver: Required value"),
    ],
)
def test_volumes_of_drivers(path: str, value: Any, expected: str) -> None:
    assert faults(persistent_volume.KIND, VOLUME) == []
    assert expected in faults(persistent_volume.KIND, changed(VOLUME, f"spec.csi.{path}", value))
