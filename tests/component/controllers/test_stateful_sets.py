"""StatefulSets over the real API: order, identity, claims, updates and history."""

from __future__ import annotations

from typing import Any

from cluster_world import Cluster, deployment

from pilothouse.kinds.apps.controller_revision import ControllerRevision
from pilothouse.kinds.apps.stateful_set import StatefulSet
from pilothouse.kinds.core.event import Event
from pilothouse.kinds.core.persistent_volume_claim import PersistentVolumeClaim
from pilothouse.kinds.core.pod import Pod
from pilothouse.kinds.storage.storage_class import StorageClass
from pilothouse.machinery.objects import Obj

DB = "shop/db"
CLAIM = {
    "metadata": {"name": "data"},
    "spec": {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Gi"}}},
}


def stateful_set(replicas: int = 3, **spec: Any) -> Obj:
    return deployment("db", replicas, "db:1", serviceName="db", **spec)


def names(cluster: Cluster) -> list[str]:
    return sorted(pod.name for pod in cluster.all(Pod) if pod.metadata.deletion_timestamp is None)


def images(cluster: Cluster) -> dict[str, str]:
    return {pod.name: pod.spec.containers[0].image for pod in cluster.all(Pod)}


def settled(cluster: Cluster, replicas: int = 3, updated: int | None = None) -> bool:
    found: StatefulSet | None = cluster.get(StatefulSet, DB)
    if found is None:
        return False
    status = found.status
    return (
        status.observed_generation == found.metadata.generation
        and status.replicas == status.ready_replicas == status.available_replicas == replicas == len(cluster.all(Pod))
        and status.updated_replicas == (replicas if updated is None else updated)
        and (updated is not None or status.current_revision == status.update_revision)
    )


async def apply(cluster: Cluster, **changes: Any) -> None:
    await cluster.add_node("n1", cpu="64")
    await cluster.client.create_tree(StatefulSet.resource, stateful_set(**changes), "shop")


async def change(cluster: Cluster, spec: Obj) -> None:
    await cluster.client.patch(StatefulSet, "db", "shop", {"spec": spec}, type="strategic")


async def set_image(cluster: Cluster, image: str) -> None:
    await change(cluster, {"template": {"spec": {"containers": [{"name": "main", "image": image}]}}})


async def add_class(cluster: Cluster) -> None:
    tree = {
        "metadata": {"name": "local", "annotations": {"storageclass.kubernetes.io/is-default-class": "true"}},
        "provisioner": "pilothouse.io/local",
        "volumeBindingMode": "WaitForFirstConsumer",
    }
    await cluster.client.create_tree(StorageClass.resource, tree)


async def test_pods_start_one_after_the_other_with_names_of_their_own(cluster: Cluster) -> None:
    cluster.unready = lambda pod: pod.name == "db-1"
    await apply(cluster)
    await cluster.until(lambda: names(cluster) == ["db-0", "db-1"] and cluster.get(Pod, "shop/db-1").status.phase)
    await cluster.until(lambda: cluster.get(StatefulSet, DB).status.replicas == 2)
    assert cluster.get(StatefulSet, DB).status.ready_replicas == 1
    assert cluster.get(Pod, "shop/db-2") is None
    cluster.unready = lambda pod: False
    await cluster.run_pod(cluster.get(Pod, "shop/db-1"))
    await cluster.until(lambda: settled(cluster))
    pod = cluster.get(Pod, "shop/db-2")
    assert pod.metadata.labels["statefulset.kubernetes.io/pod-name"] == "db-2"
    assert pod.metadata.labels["apps.kubernetes.io/pod-index"] == "2"
    assert pod.metadata.labels["controller-revision-hash"] == cluster.get(StatefulSet, DB).status.update_revision
    assert (pod.spec.hostname, pod.spec.subdomain) == ("db-2", "db")


async def test_parallel_pods_do_not_wait_for_each_other(cluster: Cluster) -> None:
    cluster.unready = lambda pod: True
    await apply(cluster, podManagementPolicy="Parallel", ordinals={"start": 5})
    await cluster.until(lambda: names(cluster) == ["db-5", "db-6", "db-7"])


async def test_scaling_down_goes_from_the_highest_and_keeps_claims(cluster: Cluster) -> None:
    await add_class(cluster)
    await apply(cluster, volumeClaimTemplates=[CLAIM])
    await cluster.until(lambda: settled(cluster))
    gone: list[str] = []
    cluster.informers.of(Pod).subscribe(lambda key, old, new: gone.append(key) if new is None else None)
    await change(cluster, {"replicas": 1})
    await cluster.until(lambda: settled(cluster, 1))
    assert gone == ["shop/db-2", "shop/db-1"]
    assert sorted(c.name for c in cluster.all(PersistentVolumeClaim)) == ["data-db-0", "data-db-1", "data-db-2"]


async def test_claims_go_when_scaled_down_or_deleted_if_so_wanted(cluster: Cluster) -> None:
    await add_class(cluster)
    retention = {"whenScaled": "Delete", "whenDeleted": "Delete"}
    await apply(cluster, volumeClaimTemplates=[CLAIM], persistentVolumeClaimRetentionPolicy=retention)
    await cluster.until(lambda: settled(cluster))
    volume = cluster.get(Pod, "shop/db-0").spec.volumes[0]
    assert (volume.name, volume.persistent_volume_claim.claim_name) == ("data", "data-db-0")
    await change(cluster, {"replicas": 2})
    await cluster.until(lambda: settled(cluster, 2) and len(cluster.all(PersistentVolumeClaim)) == 2)
    await change(cluster, {"replicas": 3})
    await cluster.until(lambda: settled(cluster, 3) and len(cluster.all(PersistentVolumeClaim)) == 3)
    await cluster.client.delete(StatefulSet, "db", "shop", propagation_policy="Background")
    await cluster.until(lambda: not cluster.all(Pod) and not cluster.all(PersistentVolumeClaim))


async def test_an_update_goes_from_the_highest_down_to_the_partition(cluster: Cluster) -> None:
    await apply(cluster, updateStrategy={"rollingUpdate": {"partition": 2}})
    await cluster.until(lambda: settled(cluster))
    await set_image(cluster, "db:2")
    await cluster.until(lambda: settled(cluster, updated=1))
    assert images(cluster) == {"db-0": "db:1", "db-1": "db:1", "db-2": "db:2"}
    # A pod below the partition comes back as it was.
    await cluster.client.delete(Pod, "db-0", "shop")
    await cluster.until(lambda: cluster.get(Pod, "shop/db-0") is None)
    await cluster.until(lambda: settled(cluster, updated=1))
    assert images(cluster)["db-0"] == "db:1"
    gone: list[str] = []
    cluster.informers.of(Pod).subscribe(lambda key, old, new: gone.append(key) if new is None else None)
    await change(cluster, {"updateStrategy": {"rollingUpdate": {"partition": 0}}})
    await cluster.until(lambda: settled(cluster))
    assert gone == ["shop/db-1", "shop/db-0"]
    assert set(images(cluster).values()) == {"db:2"}


async def test_going_back_finds_the_old_revision(cluster: Cluster) -> None:
    await apply(cluster, replicas=1, revisionHistoryLimit=1)
    await cluster.until(lambda: settled(cluster, 1))
    first = cluster.get(StatefulSet, DB).status.current_revision
    await set_image(cluster, "db:2")
    await cluster.until(lambda: settled(cluster, 1) and images(cluster) == {"db-0": "db:2"})
    old = next(r for r in cluster.all(ControllerRevision) if r.name == first)
    # What `kubectl rollout undo` sends.
    await cluster.client.patch(StatefulSet, "db", "shop", old.data, type="strategic")
    await cluster.until(lambda: settled(cluster, 1) and images(cluster) == {"db-0": "db:1"})
    assert cluster.get(StatefulSet, DB).status.current_revision == first
    assert sorted(r.revision for r in cluster.all(ControllerRevision)) == [2, 3]
    for image in ("db:3", "db:4"):
        await set_image(cluster, image)
        await cluster.until(lambda image=image: settled(cluster, 1) and images(cluster) == {"db-0": image})
    await cluster.until(lambda: len(cluster.all(ControllerRevision)) == 2)


async def test_on_delete_updates_what_is_deleted(cluster: Cluster) -> None:
    await apply(cluster, replicas=2, updateStrategy={"type": "OnDelete"})
    await cluster.until(lambda: settled(cluster, 2))
    await set_image(cluster, "db:2")
    await cluster.until(lambda: settled(cluster, 2, updated=0))
    await cluster.client.delete(Pod, "db-0", "shop")
    await cluster.until(lambda: settled(cluster, 2, updated=1))
    assert images(cluster) == {"db-0": "db:2", "db-1": "db:1"}


async def test_a_failed_pod_is_made_anew(cluster: Cluster) -> None:
    await apply(cluster, replicas=1)
    await cluster.until(lambda: settled(cluster, 1))
    uid = cluster.get(Pod, "shop/db-0").metadata.uid
    await cluster.client.patch(Pod, "db-0", "shop", {"status": {"phase": "Failed"}}, subresource="status")
    await cluster.until(lambda: settled(cluster, 1) and cluster.get(Pod, "shop/db-0").metadata.uid != uid)
    reasons = {event.reason for event in (await cluster.client.list(Event, "shop")).items}
    assert {"RecreatingFailedPod", "SuccessfulCreate", "SuccessfulDelete"} <= reasons


async def test_orphaned_pods_are_adopted_again(cluster: Cluster) -> None:
    await apply(cluster)
    await cluster.until(lambda: settled(cluster))
    before = {pod.metadata.uid for pod in cluster.all(Pod)}
    await cluster.client.delete(StatefulSet, "db", "shop", propagation_policy="Orphan")
    await cluster.until(
        lambda: cluster.get(StatefulSet, DB) is None and not any(p.controller() for p in cluster.all(Pod))
    )
    await cluster.client.create_tree(StatefulSet.resource, stateful_set(), "shop")
    await cluster.until(lambda: settled(cluster) and all(p.controller() for p in cluster.all(Pod)))
    assert {pod.metadata.uid for pod in cluster.all(Pod)} == before


async def test_restarted_controllers_go_on_where_they_were(cluster: Cluster) -> None:
    await apply(cluster, replicas=5)
    await cluster.until(lambda: len(cluster.all(Pod)) >= 2)
    await cluster.restart_controllers()
    await cluster.until(lambda: settled(cluster, 5))
    await set_image(cluster, "db:2")
    await cluster.until(lambda: "db:2" in images(cluster).values())
    await cluster.restart_controllers()
    await cluster.until(lambda: settled(cluster, 5) and set(images(cluster).values()) == {"db:2"})


async def test_a_stranger_s_pod_in_the_way_is_told(cluster: Cluster) -> None:
    stranger = {"metadata": {"name": "db-0"}, "spec": {"containers": [{"name": "c", "image": "other:1"}]}}
    await cluster.client.create_tree(Pod.resource, stranger, "shop")
    await apply(cluster, replicas=1)

    def refused() -> str:
        found = cluster.get(StatefulSet, DB)
        return next((c.message for c in found.status.conditions if c.type == "ReplicaFailure"), "") if found else ""

    assert "belongs to another" in await cluster.until(refused)
    await cluster.client.delete(Pod, "db-0", "shop")
    await cluster.until(lambda: settled(cluster, 1) and not cluster.get(StatefulSet, DB).status.conditions)
