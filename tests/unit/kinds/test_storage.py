import pytest

from pilothouse.kinds.core import persistent_volume, persistent_volume_claim
from pilothouse.kinds.storage import storage_class

from .trees import REMOVED, changed, claim, defaulted, faults

AFFINITY = {
    "required": {
        "nodeSelectorTerms": [
            {"matchExpressions": [{"key": "kubernetes.io/hostname", "operator": "In", "values": ["n1"]}]}
        ]
    }
}
VOLUME = {
    "metadata": {"name": "pv-1"},
    "spec": {
        "capacity": {"storage": "1Gi"},
        "accessModes": ["ReadWriteOnce"],
        "local": {"path": "/var/volumes/pv-1"},
        "nodeAffinity": AFFINITY,
    },
}
CLASS = {"metadata": {"name": "local"}, "provisioner": "example.com/local"}


def test_defaults() -> None:
    assert defaulted(persistent_volume_claim.KIND, claim())["spec"]["volumeMode"] == "Filesystem"
    volume = defaulted(persistent_volume.KIND, VOLUME)["spec"]
    assert (volume["volumeMode"], volume["persistentVolumeReclaimPolicy"]) == ("Filesystem", "Retain")
    found = defaulted(storage_class.KIND, CLASS)
    assert (found["reclaimPolicy"], found["volumeBindingMode"]) == ("Delete", "Immediate")


@pytest.mark.parametrize(
    ("path", "value", "expected"),
    [
        ("accessModes", [], "accessModes: Required value: at least 1 access mode is required"),
        (
            "accessModes",
            ["ReadWriteOncePod", "ReadOnlyMany"],
            "accessModes: Forbidden: may not use ReadWriteOncePod with other access modes",
        ),
        ("resources", {}, "resources[storage]: Required value"),
        (
            "resources.requests.storage",
            "0",
            'resources[storage]: Invalid value: "0": must be greater than zero',
        ),
        (
            "volumeMode",
            "Tape",
            'volumeMode: Unsupported value: "Tape": supported values: "Block", "Filesystem"',
        ),
    ],
)
def test_claims(path: str, value: object, expected: str) -> None:
    assert faults(persistent_volume_claim.KIND, changed(claim(), f"spec.{path}", value)) == [f"spec.{expected}"]


@pytest.mark.parametrize(
    ("path", "value", "fine"),
    [
        ("volumeName", "pv-1", True),
        ("storageClassName", "local", True),
        ("accessModes", ["ReadOnlyMany"], False),
        ("resources.requests.storage", "2Gi", False),
    ],
)
def test_what_of_a_claim_may_change(path: str, value: object, fine: bool) -> None:
    found = faults(persistent_volume_claim.KIND, changed(claim(), f"spec.{path}", value), claim())
    assert (found == []) is fine


@pytest.mark.parametrize(
    ("path", "value", "expected"),
    [
        ("nodeAffinity", REMOVED, "spec.nodeAffinity: Required value: Local volume requires node affinity"),
        ("local", REMOVED, "spec: Required value: must specify a volume type"),
        ("hostPath", {"path": "/x"}, "spec.local: Forbidden: may not specify more than 1 volume type"),
        ("capacity", {"cpu": "1"}, 'spec.capacity: Unsupported value: {"cpu":"1"}: supported values: "storage"'),
        ("local.path", "/a/../b", "spec.local.path: Invalid value: \"/a/../b\": must not contain '..'"),
    ],
)
def test_volumes(path: str, value: object, expected: str) -> None:
    assert faults(persistent_volume.KIND, changed(VOLUME, f"spec.{path}", value)) == [expected]


def test_volumes_that_cannot_be_mounted_are_refused() -> None:
    tree = changed(changed(VOLUME, "spec.local", REMOVED), "spec.nfs", {"server": "s", "path": "/"})
    assert faults(persistent_volume.KIND, tree) == [
        "spec.nfs: Forbidden: volumes of this type cannot be mounted by Pilothouse; use local, hostPath or csi"
    ]


def test_the_source_of_a_volume_stays() -> None:
    assert faults(persistent_volume.KIND, changed(VOLUME, "spec.local.path", "/elsewhere"), VOLUME) == [
        "spec.persistentvolumesource: Forbidden: spec.persistentvolumesource is immutable after creation"
    ]
    assert faults(persistent_volume.KIND, changed(VOLUME, "spec.claimRef", {"name": "c"}), VOLUME) == []


def test_classes() -> None:
    topologies = [{"matchLabelExpressions": [{"key": "zone", "values": ["a", "a"]}, {"key": "zone"}]}]
    assert faults(storage_class.KIND, changed(CLASS, "allowedTopologies", topologies)) == [
        'allowedTopologies[0].matchLabelExpressions[0].values[1]: Duplicate value: "a"',
        "allowedTopologies[0].matchLabelExpressions[1].values: Required value",
        'allowedTopologies[0].matchLabelExpressions[1].key: Duplicate value: "zone"',
    ]
    assert faults(storage_class.KIND, changed(CLASS, "provisioner", "")) == ["provisioner: Required value"]
    assert faults(storage_class.KIND, changed(CLASS, "parameters", {"a": "b"}), CLASS) == [
        "parameters: Forbidden: updates to parameters are forbidden."
    ]


SNAPSHOT = {"apiGroup": "snapshot.storage.k8s.io", "kind": "VolumeSnapshot", "name": "s"}
BOOK = {"apiGroup": "example.com", "kind": "Book", "name": "b"}


def test_the_two_fields_of_a_data_source_say_the_same() -> None:
    kind = persistent_volume_claim.KIND
    for given in ({"dataSource": SNAPSHOT}, {"dataSourceRef": SNAPSHOT}):
        spec = defaulted(kind, claim(**given))["spec"]
        assert spec["dataSource"] == spec["dataSourceRef"] == SNAPSHOT
    assert "dataSource" not in defaulted(kind, claim(dataSourceRef=BOOK))["spec"]


@pytest.mark.parametrize(
    ("spec", "expected"),
    [
        ({"dataSource": SNAPSHOT}, []),
        ({"dataSourceRef": BOOK}, []),
        ({"dataSource": {"kind": "PersistentVolumeClaim", "name": "c"}}, []),
        (
            {"dataSourceRef": {"kind": "Pod", "name": "p"}},
            ["kind: Invalid value: \"Pod\": must be 'PersistentVolumeClaim' when referencing the default apiGroup"],
        ),
        ({"dataSourceRef": {"apiGroup": "example.com", "kind": "Book"}}, ["name: Required value"]),
        ({"dataSourceRef": {**BOOK, "namespace": "other"}}, ["namespace: Forbidden: claims are filled from their own"]),
    ],
)
def test_data_sources(spec: dict[str, object], expected: list[str]) -> None:
    found = faults(persistent_volume_claim.KIND, defaulted(persistent_volume_claim.KIND, claim(**spec)))
    wanted = [f"spec.dataSourceRef.{fault}" for fault in expected]
    assert [fault[: len(text)] for fault, text in zip(found, wanted, strict=True)] == wanted


def test_two_data_sources_are_one_too_many() -> None:
    (fault,) = faults(persistent_volume_claim.KIND, claim(dataSource=SNAPSHOT, dataSourceRef=BOOK))
    assert fault.startswith("spec: Invalid value:")
    assert fault.endswith("must match dataSourceRef")
