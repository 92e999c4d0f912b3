"""Claims and volumes: which step is next, and what is said when there is none."""

from __future__ import annotations

from typing import Any

import msgspec

from pilothouse.controllers.persistent_volume.claims import (
    Bind,
    Entrust,
    Lose,
    Provision,
    Resize,
    SetClass,
    Step,
    Unselect,
    Wait,
    World,
    next_step,
)
from pilothouse.controllers.persistent_volume.volumes import Plan, decide
from pilothouse.kinds.core.node import Node
from pilothouse.kinds.core.persistent_volume import PersistentVolume
from pilothouse.kinds.core.persistent_volume_claim import PersistentVolumeClaim
from pilothouse.kinds.storage.storage_class import StorageClass

PROTECTION = "kubernetes.io/pv-protection"
LOCAL = "pilothouse.io/local-volume"


def claim(*, node: str = "", annotations: dict[str, str] | None = None, **spec: Any) -> PersistentVolumeClaim:
    notes = {**(annotations or {}), **({"volume.kubernetes.io/selected-node": node} if node else {})}
    tree = {
        "metadata": {"name": "data", "namespace": "shop", "uid": "c", "annotations": notes},
        "spec": {
            "accessModes": ["ReadWriteOnce"],
            "resources": {"requests": {"storage": "1Gi"}},
            "storageClassName": "local",
            **spec,
        },
    }
    return msgspec.convert(tree, PersistentVolumeClaim)


def volume(name: str = "v", size: str = "1Gi", *, ref: dict[str, str] | None = None, **more: Any) -> PersistentVolume:
    meta = {"name": name, "finalizers": [PROTECTION], **more.pop("metadata", {})}
    spec = {
        "capacity": {"storage": size},
        "accessModes": ["ReadWriteOnce"],
        "storageClassName": "local",
        "claimRef": {"namespace": "shop", "name": "data", **ref} if ref is not None else None,
        "persistentVolumeReclaimPolicy": "Delete",
        **more,
    }
    return msgspec.convert({"metadata": meta, "spec": spec}, PersistentVolume)


def local_class(**more: Any) -> StorageClass:
    tree = {
        "metadata": {"name": "local", "annotations": {"storageclass.kubernetes.io/is-default-class": "true"}},
        "provisioner": "pilothouse.io/local",
        "volumeBindingMode": "WaitForFirstConsumer",
        **more,
    }
    return msgspec.convert(tree, StorageClass)


def nodes(**annotations: str) -> dict[str, Node]:
    tree = {"metadata": {"name": "n", "labels": {"kubernetes.io/hostname": "host"}, "annotations": annotations}}
    return {"n": msgspec.convert(tree, Node)}


READY = nodes(**{"pilothouse.io/volumes-dir": "/disk/"})


def step(subject: PersistentVolumeClaim, *volumes: PersistentVolume, **world: Any) -> Step:
    return next_step(subject, World(volumes, world.get("classes", [local_class()]), world.get("nodes", READY)))


def test_a_claim_waits_for_its_first_consumer() -> None:
    answer = step(claim())
    assert isinstance(answer, Wait)
    assert answer.reason == "WaitForFirstConsumer"


def test_a_local_volume_is_made_on_the_selected_node() -> None:
    answer = step(claim(node="n"))
    assert isinstance(answer, Provision)
    spec = answer.tree["spec"]
    assert answer.name == "pvc-c"
    assert spec["local"] == {"path": "/disk/pvc-c"}
    assert spec["claimRef"]["uid"] == "c"
    (term,) = spec["nodeAffinity"]["required"]["nodeSelectorTerms"]
    assert term["matchExpressions"] == [{"key": "kubernetes.io/hostname", "operator": "In", "values": ["host"]}]
    assert answer.tree["metadata"]["finalizers"] == [PROTECTION, LOCAL]


def test_a_node_that_cannot_serve_is_given_back_to_the_scheduler() -> None:
    assert isinstance(step(claim(node="n"), nodes=nodes()), Unselect)
    assert isinstance(step(claim(node="gone")), Unselect)


def test_what_a_local_volume_cannot_be_is_refused() -> None:
    shared = step(claim(node="n", accessModes=["ReadWriteMany"]))
    assert isinstance(shared, Wait)
    assert "use ReadWriteOnce" in shared.message
    block = step(claim(node="n", volumeMode="Block"))
    assert isinstance(block, Wait)
    assert "volumeMode: Filesystem" in block.message


def test_the_smallest_volume_that_fits_is_bound() -> None:
    candidates = (volume("small", "500Mi"), volume("large", "9Gi"), volume("fitting", "2Gi"))
    answer = step(claim(node="n"), *candidates)
    assert isinstance(answer, Bind)
    assert answer.volume.name == "fitting"


def test_a_reserved_volume_is_bound_and_another_claims_volume_is_not() -> None:
    reserved = step(claim(), volume("mine", ref={}), volume("other", ref={"name": "other"}))
    assert isinstance(reserved, Bind)
    assert reserved.volume.name == "mine"
    taken = step(claim(volumeName="v"), volume(ref={"name": "other", "uid": "o"}))
    assert isinstance(taken, Wait)
    assert taken.warning


def test_a_claim_without_a_class_gets_the_default() -> None:
    assert step(claim(storageClassName=None)) == SetClass("local")
    nothing = step(claim(storageClassName=""))
    assert isinstance(nothing, Wait)
    assert "no storage class is set" in nothing.message


def test_a_bound_claim_whose_volume_is_gone_is_lost() -> None:
    bound = claim(volumeName="v", annotations={"pv.kubernetes.io/bind-completed": "yes"})
    assert isinstance(step(bound), Lose)
    bound.status.phase = "Bound"
    assert step(bound, volume(ref={"uid": "c"})) == Wait()


def test_phases_of_a_volume() -> None:
    ours = {"annotations": {"pv.kubernetes.io/provisioned-by": "pilothouse.io/local"}}
    assert decide(volume(), None, {"host"}) == Plan("Available")
    assert decide(volume(ref={"uid": "c"}), claim(volumeName="v"), {"host"}).phase == "Bound"
    gone = decide(volume(ref={"uid": "c"}, metadata=ours), None, {"host"})
    assert (gone.phase, gone.delete) == ("Released", True)
    kept = decide(volume(ref={"uid": "c"}, persistentVolumeReclaimPolicy="Retain"), None, {"host"})
    assert (kept.phase, kept.delete) == ("Released", False)
    foreign = decide(volume(ref={"uid": "c"}), None, {"host"})
    assert (foreign.phase, foreign.delete) == ("Failed", False)


def test_a_volume_being_deleted_waits_for_its_claim_and_its_node() -> None:
    term = {"matchExpressions": [{"key": "kubernetes.io/hostname", "operator": "In", "values": ["host"]}]}
    going = volume(
        ref={"uid": "c"},
        metadata={"deletionTimestamp": "2026-01-01T00:00:00Z", "finalizers": [PROTECTION, LOCAL]},
        nodeAffinity={"required": {"nodeSelectorTerms": [term]}},
    )
    assert decide(going, claim(volumeName="v"), {"host"}).finalizers is None
    assert decide(going, None, {"host"}).finalizers == [LOCAL]
    assert decide(going, None, {"another"}).finalizers == []


def disk(size: int, name: str = "n", ready: str = "True") -> dict[str, Node]:
    annotations = {"pilothouse.io/volumes-dir": "/disk", "pilothouse.io/volumes-capacity": str(size)}
    labels = {"kubernetes.io/hostname": name}
    status = {"conditions": [{"type": "Ready", "status": ready}]}
    return {
        name: msgspec.convert(
            {"metadata": {"name": name, "labels": labels, "annotations": annotations}, "status": status}, Node
        )
    }


def made(size: str, node: str = "n", **more: Any) -> PersistentVolume:
    term = {"matchExpressions": [{"key": "kubernetes.io/hostname", "operator": "In", "values": [node]}]}
    return volume(
        "pvc-x",
        size,
        metadata={"annotations": {"pv.kubernetes.io/provisioned-by": "pilothouse.io/local"}},
        nodeAffinity={"required": {"nodeSelectorTerms": [term]}},
        **more,
    )


GI = 1 << 30


def test_a_node_without_room_is_given_back() -> None:
    other = made("3Gi", ref={"name": "other", "uid": "o"})
    assert isinstance(step(claim(node="n"), other, nodes=disk(4 * GI)), Provision)
    answer = step(claim(node="n"), other, nodes=disk(4 * GI - 1))
    assert isinstance(answer, Unselect)
    assert answer.message == (
        "the node n has no room: 1073741824 bytes more are asked for, 1073741823 are not promised to volumes"
    )


def test_immediate_binding_takes_the_node_with_most_room() -> None:
    immediate = local_class(volumeBindingMode="Immediate")
    world = disk(2 * GI, "a") | disk(5 * GI, "b") | disk(9 * GI, "c", ready="False")
    answer = step(claim(), classes=[immediate], nodes=world)
    assert isinstance(answer, Provision)
    (term,) = answer.tree["spec"]["nodeAffinity"]["required"]["nodeSelectorTerms"]
    assert term["matchExpressions"][0]["values"] == ["b"]
    answer = step(claim(), classes=[immediate], nodes={})
    assert isinstance(answer, Wait)
    assert answer.message == "no ready node offers local volumes"


def test_a_bound_claim_grows_where_there_is_room() -> None:
    bound = claim(
        annotations={"pv.kubernetes.io/bind-completed": "yes"},
        volumeName="pvc-x",
        resources={"requests": {"storage": "3Gi"}},
    )
    bound.status.phase, bound.status.capacity = "Bound", {"storage": "1Gi"}
    its = made("1Gi", ref={"name": "data", "uid": "c"})
    answer = step(bound, its, nodes=disk(3 * GI))
    assert answer == Resize(its, "3Gi")
    answer = step(bound, its, nodes=disk(3 * GI - 1))
    assert isinstance(answer, Wait)
    assert answer.reason == "VolumeResizeFailed"
    bound.status.capacity = {"storage": "3Gi"}
    assert step(bound, its, nodes=disk(GI)) == Wait()


def test_what_another_provisioner_makes_is_left_to_it() -> None:
    classes = [local_class(provisioner="disk.example.com", volumeBindingMode="Immediate")]
    assert step(claim(), classes=classes) == Entrust("disk.example.com")
    told = claim(annotations={"volume.kubernetes.io/storage-provisioner": "disk.example.com"})
    waiting = step(told, classes=classes)
    assert isinstance(waiting, Wait)
    assert waiting.reason == "ExternalProvisioning"
    # Only once a node is chosen, where the class waits for that.
    later = [local_class(provisioner="disk.example.com")]
    assert step(claim(), classes=later).reason == "WaitForFirstConsumer"  # type: ignore[union-attr]
    assert step(claim(node="n"), classes=later) == Entrust("disk.example.com")


def test_who_made_a_volume_deletes_it() -> None:
    theirs = volume(ref={"uid": "c"}, metadata={"annotations": {"pv.kubernetes.io/provisioned-by": "disk.example.com"}})
    assert decide(theirs, None, ()).phase == "Released"
    assert not decide(theirs, None, ()).delete
    assert decide(volume(ref={"uid": "c"}), None, ()).phase == "Failed"
