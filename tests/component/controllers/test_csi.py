"""Volumes of CSI drivers: who makes, attaches, detaches and deletes them. The driver's side is played by the test."""

from __future__ import annotations

from typing import Any

from cluster_world import Cluster

from pilothouse.kinds.core.event import Event
from pilothouse.kinds.core.node import Node
from pilothouse.kinds.core.persistent_volume import PersistentVolume
from pilothouse.kinds.core.persistent_volume_claim import PersistentVolumeClaim
from pilothouse.kinds.core.pod import Pod
from pilothouse.kinds.storage.csi_driver import CSIDriver
from pilothouse.kinds.storage.csi_node import CSINode
from pilothouse.kinds.storage.storage_class import StorageClass
from pilothouse.kinds.storage.volume_attachment import VolumeAttachment
from pilothouse.machinery.objects import Obj
from pilothouse.reconcile.csi import attachment_name, unique_name

DRIVER = "disk.example.com"


async def set_up(cluster: Cluster, *, mode: str = "WaitForFirstConsumer", attach: bool = True) -> None:
    await cluster.add_node("n1")
    driver = {"metadata": {"name": DRIVER}, "spec": {"attachRequired": attach}}
    await cluster.client.create_tree(CSIDriver.resource, driver)
    storage_class = {"metadata": {"name": "disk"}, "provisioner": DRIVER, "volumeBindingMode": mode}
    await cluster.client.create_tree(StorageClass.resource, storage_class)


async def claim(cluster: Cluster, name: str) -> Obj:
    spec = {
        "accessModes": ["ReadWriteOnce"],
        "storageClassName": "disk",
        "resources": {"requests": {"storage": "1Gi"}},
    }
    return await cluster.client.create_tree(
        PersistentVolumeClaim.resource, {"metadata": {"name": name}, "spec": spec}, "shop"
    )


async def provision(cluster: Cluster, made: Obj) -> str:
    """What the driver's provisioner does."""
    name = f"pvc-{made['metadata']['uid']}"
    spec = {
        "capacity": {"storage": "1Gi"},
        "accessModes": ["ReadWriteOnce"],
        "persistentVolumeReclaimPolicy": "Delete",
        "storageClassName": "disk",
        "claimRef": {"namespace": "shop", "name": made["metadata"]["name"], "uid": made["metadata"]["uid"]},
        "csi": {"driver": DRIVER, "volumeHandle": f"vol-{made['metadata']['name']}"},
    }
    metadata = {"name": name, "annotations": {"pv.kubernetes.io/provisioned-by": DRIVER}}
    await cluster.client.create_tree(PersistentVolume.resource, {"metadata": metadata, "spec": spec})
    return name


async def pod(cluster: Cluster, name: str, claim_name: str) -> None:
    spec = {
        "containers": [{"name": "a", "image": "a:1"}],
        "volumes": [{"name": "v", "persistentVolumeClaim": {"claimName": claim_name}}],
    }
    await cluster.client.create_tree(Pod.resource, {"metadata": {"name": name}, "spec": spec}, "shop")


async def test_a_volume_from_its_claim_to_its_end(cluster: Cluster) -> None:
    await set_up(cluster)
    made = await claim(cluster, "data")
    await pod(cluster, "p", "data")

    def annotations() -> dict[str, str]:
        found: Any = cluster.get(PersistentVolumeClaim, "shop/data")
        return found.metadata.annotations if found is not None else {}

    # A provisioner looks for both: that the volume is its to make, and on which node.
    await cluster.until(lambda: annotations().get("volume.kubernetes.io/storage-provisioner") == DRIVER)
    assert annotations()["volume.beta.kubernetes.io/storage-provisioner"] == DRIVER
    assert annotations()["volume.kubernetes.io/selected-node"] == "n1"
    volume = await provision(cluster, made)
    await cluster.until(lambda: (p := cluster.get(Pod, "shop/p")) and p.spec.node_name == "n1")
    name = attachment_name("vol-data", DRIVER, "n1")
    attachments = cluster.informers.of(VolumeAttachment)
    await cluster.until(lambda: attachments.get(name))
    # While the node has it in use, it stays attached.
    in_use = {"status": {"volumesInUse": [unique_name(DRIVER, "vol-data")]}}
    await cluster.client.patch(Node, "n1", None, in_use, subresource="status")
    await cluster.until(lambda: cluster.get(Node, "n1").status.volumes_in_use)
    await cluster.client.delete(Pod, "p", "shop")
    await cluster.until(lambda: cluster.get(Pod, "shop/p") is None)
    assert attachments.get(name) is not None
    await cluster.client.patch(Node, "n1", None, {"status": {"volumesInUse": None}}, subresource="status")
    await cluster.until(lambda: attachments.get(name) is None)
    # The provisioner deletes what it made, once it is released.
    await cluster.client.delete(PersistentVolumeClaim, "data", "shop")
    await cluster.until(lambda: cluster.get(PersistentVolume, volume).status.phase == "Released")


async def test_a_node_takes_as_many_volumes_as_its_driver_says(cluster: Cluster) -> None:
    await set_up(cluster, mode="Immediate", attach=False)
    entry = {"name": DRIVER, "nodeID": "i-1", "allocatable": {"count": 1}}
    await cluster.client.create_tree(CSINode.resource, {"metadata": {"name": "n1"}, "spec": {"drivers": [entry]}})
    for name in ("one", "two"):
        await provision(cluster, await claim(cluster, name))
        await pod(cluster, name, name)
        if name == "one":
            await cluster.until(lambda: (p := cluster.get(Pod, "shop/one")) and p.spec.node_name)

    def reason() -> str:
        found: Any = cluster.get(Pod, "shop/two")
        return next((c.message for c in found.status.conditions if c.type == "PodScheduled"), "") if found else ""

    await cluster.until(lambda: "node(s) exceed max volume count" in reason())
    # Another pod with the volume that is there already needs no more.
    await pod(cluster, "three", "one")
    await cluster.until(lambda: (p := cluster.get(Pod, "shop/three")) and p.spec.node_name)
    for name in ("one", "three"):
        await cluster.client.delete(Pod, name, "shop")
    await cluster.until(lambda: cluster.get(Pod, "shop/two").spec.node_name == "n1")


async def test_a_volume_goes_from_one_node_to_the_next(cluster: Cluster) -> None:
    """It may be at one only, so the second pod's node waits, is told so, and gets it when the first lets go."""
    await set_up(cluster, mode="Immediate")
    await cluster.add_node("n2")
    await provision(cluster, await claim(cluster, "data"))
    attachments = cluster.informers.of(VolumeAttachment)

    def nodes() -> set[str]:
        return {attachment.spec.node_name for attachment in attachments}

    for name, node in (("one", "n1"), ("two", "n2")):
        spec = {
            "nodeName": node,
            "containers": [{"name": "a", "image": "a:1"}],
            "volumes": [{"name": "v", "persistentVolumeClaim": {"claimName": "data"}}],
        }
        await cluster.client.create_tree(Pod.resource, {"metadata": {"name": name}, "spec": spec}, "shop")
    await cluster.until(nodes)
    (first,) = nodes()
    waiting = "two" if first == "n1" else "one"

    def told() -> bool:
        return any(
            event.involved_object.name == waiting and event.message.startswith("Multi-Attach error")
            for event in cluster.all(Event)
        )

    await cluster.until(told)
    await cluster.client.delete(Pod, "one" if first == "n1" else "two", "shop")
    await cluster.until(lambda: nodes() and first not in nodes())
