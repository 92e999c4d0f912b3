"""Deployments from apply to ready, through updates, failures and deletion, over the real API."""

from __future__ import annotations

from typing import Any

import pytest
from cluster_world import Cluster, deployment

from pilothouse.kinds.apps.deployment import Deployment
from pilothouse.kinds.apps.replica_set import ReplicaSet
from pilothouse.kinds.core.config_map import ConfigMap
from pilothouse.kinds.core.event import Event
from pilothouse.kinds.core.node import Node
from pilothouse.kinds.core.pod import Pod

WEB = "shop/web"


def settled(cluster: Cluster, replicas: int = 3, image: str = "web:1") -> bool:
    """All replicas of the image, no others, and a status that says so."""
    found: Deployment | None = cluster.get(Deployment, WEB)
    pods = [p for p in cluster.all(Pod) if p.metadata.deletion_timestamp is None]
    return (
        found is not None
        and found.status.observed_generation == found.metadata.generation
        and found.status.updated_replicas == found.status.available_replicas == found.status.replicas == replicas
        and len(pods) == replicas
        and all(p.spec.containers[0].image == image for p in pods)
    )


def reason(cluster: Cluster, type: str) -> str:
    found: Deployment | None = cluster.get(Deployment, WEB)
    return next((c.reason for c in found.status.conditions if c.type == type), "") if found else ""


async def apply(cluster: Cluster, **changes: Any) -> None:
    await cluster.client.create_tree(Deployment.resource, deployment(**changes), "shop")


async def set_image(cluster: Cluster, image: str) -> None:
    template = {"spec": {"containers": [{"name": "main", "image": image}]}}
    await cluster.client.patch(Deployment, "web", "shop", {"spec": {"template": template}}, type="strategic")


async def test_a_deployment_becomes_ready(cluster: Cluster) -> None:
    await cluster.add_node("n1")
    await apply(cluster)
    await cluster.until(lambda: settled(cluster) and reason(cluster, "Progressing") == "NewReplicaSetAvailable")
    assert reason(cluster, "Available") == "MinimumReplicasAvailable"
    assert cluster.get(Deployment, WEB).metadata.annotations["deployment.kubernetes.io/revision"] == "1"
    assert len(cluster.all(ReplicaSet)) == 1


async def test_an_update_keeps_within_its_bounds_and_undo_finds_the_old_set(cluster: Cluster) -> None:
    await cluster.add_node("n1")
    await apply(cluster, strategy={"rollingUpdate": {"maxSurge": 1, "maxUnavailable": 0}})
    await cluster.until(lambda: settled(cluster))
    counts: list[tuple[int, int]] = []

    def count(key: str, old: Pod | None, new: Pod | None) -> None:
        living = [p for p in cluster.all(Pod) if p.metadata.deletion_timestamp is None]
        ready = [p for p in living if any(c.type == "Ready" and c.status == "True" for c in p.status.conditions)]
        counts.append((len(living), len(ready)))

    cluster.informers.of(Pod).subscribe(count)
    counts.clear()
    await set_image(cluster, "web:2")
    await cluster.until(lambda: settled(cluster, image="web:2"))
    assert max(living for living, _ in counts) <= 4
    assert min(ready for _, ready in counts) >= 3
    await set_image(cluster, "web:1")
    await cluster.until(lambda: settled(cluster, image="web:1"))
    revisions = sorted(rs.metadata.annotations["deployment.kubernetes.io/revision"] for rs in cluster.all(ReplicaSet))
    assert revisions == ["2", "3"]


async def test_recreate_waits_for_the_last_old_pod(cluster: Cluster) -> None:
    await cluster.add_node("n1")
    await apply(cluster, strategy={"type": "Recreate"})
    await cluster.until(lambda: settled(cluster))
    mixed: list[bool] = []
    cluster.informers.of(Pod).subscribe(
        lambda key, old, new: mixed.append(len({p.spec.containers[0].image for p in cluster.all(Pod)}) > 1)
    )
    await set_image(cluster, "web:2")
    await cluster.until(lambda: settled(cluster, image="web:2"))
    assert not any(mixed)


async def test_scaling_up_and_down(cluster: Cluster) -> None:
    await cluster.add_node("n1", cpu="64")
    await apply(cluster, replicas=1)
    await cluster.until(lambda: settled(cluster, 1))
    await cluster.client.patch(Deployment, "web", "shop", {"spec": {"replicas": 20}})
    await cluster.until(lambda: settled(cluster, 20))
    await cluster.client.patch(Deployment, "web", "shop", {"spec": {"replicas": 0}})
    await cluster.until(lambda: settled(cluster, 0))


async def test_a_paused_deployment_changes_nothing_until_resumed(cluster: Cluster) -> None:
    await cluster.add_node("n1")
    await apply(cluster)
    await cluster.until(lambda: settled(cluster))
    await cluster.client.patch(Deployment, "web", "shop", {"spec": {"paused": True}})
    await cluster.until(lambda: reason(cluster, "Progressing") == "DeploymentPaused")
    await set_image(cluster, "web:2")
    generation = 3
    await cluster.until(lambda: cluster.get(Deployment, WEB).status.observed_generation == generation)
    assert len(cluster.all(ReplicaSet)) == 1
    await cluster.client.patch(Deployment, "web", "shop", {"spec": {"paused": None}})
    await cluster.until(lambda: settled(cluster, image="web:2"))


async def test_a_deleted_pod_is_replaced(cluster: Cluster) -> None:
    await cluster.add_node("n1")
    await apply(cluster)
    await cluster.until(lambda: settled(cluster))
    victim = cluster.all(Pod)[0]
    await cluster.client.delete(Pod, victim.name, "shop")
    await cluster.until(lambda: cluster.get(Pod, victim.key) is None and settled(cluster))


async def test_deleting_a_deployment_takes_its_sets_and_pods_along(cluster: Cluster) -> None:
    await cluster.add_node("n1")
    await apply(cluster)
    await cluster.until(lambda: settled(cluster))
    await cluster.client.delete(Deployment, "web", "shop", propagation_policy="Background")
    await cluster.until(lambda: not cluster.all(ReplicaSet) and not cluster.all(Pod))


async def test_foreground_deletion_ends_with_the_owner(cluster: Cluster) -> None:
    await cluster.add_node("n1")
    await apply(cluster)
    await cluster.until(lambda: settled(cluster))
    left: list[int] = []
    cluster.informers.of(Deployment).subscribe(
        lambda key, old, new: left.append(len(cluster.all(Pod))) if new is None else None
    )
    await cluster.client.delete(Deployment, "web", "shop", propagation_policy="Foreground")
    await cluster.until(lambda: cluster.get(Deployment, WEB) is None)
    assert left == [0]
    assert not cluster.all(ReplicaSet)


async def test_orphaned_pods_stay_and_are_adopted_again(cluster: Cluster) -> None:
    await cluster.add_node("n1")
    await apply(cluster)
    await cluster.until(lambda: settled(cluster))
    before = {pod.metadata.uid for pod in cluster.all(Pod)}
    await cluster.client.delete(Deployment, "web", "shop", propagation_policy="Orphan")
    await cluster.until(
        lambda: cluster.get(Deployment, WEB) is None and not any(rs.controller() for rs in cluster.all(ReplicaSet))
    )
    await apply(cluster)
    await cluster.until(lambda: settled(cluster))
    assert {pod.metadata.uid for pod in cluster.all(Pod)} == before


async def test_restarted_controllers_go_on_where_they_were(cluster: Cluster) -> None:
    await cluster.add_node("n1", cpu="64")
    await apply(cluster, replicas=12)
    await cluster.until(lambda: len(cluster.all(Pod)) >= 3)
    await cluster.restart_controllers()
    await cluster.until(lambda: settled(cluster, 12))
    await set_image(cluster, "web:2")
    await cluster.until(lambda: len(cluster.all(ReplicaSet)) == 2)
    await cluster.restart_controllers()
    await cluster.until(lambda: settled(cluster, 12, "web:2"))


async def test_what_does_not_fit_is_told_and_placed_once_there_is_room(cluster: Cluster) -> None:
    await cluster.add_node("n1", cpu="1")
    tree = deployment(replicas=3)
    tree["spec"]["template"]["spec"]["containers"][0]["resources"] = {"requests": {"cpu": "500m"}}
    await cluster.client.create_tree(Deployment.resource, tree, "shop")

    def unschedulable() -> str:
        messages = [c.message for p in cluster.all(Pod) for c in p.status.conditions if c.reason == "Unschedulable"]
        return messages[0] if messages else ""

    assert await cluster.until(unschedulable) == "0/1 nodes are available: 1 Insufficient cpu."
    assert sum(bool(pod.spec.node_name) for pod in cluster.all(Pod)) == 2
    await cluster.add_node("n2", cpu="1")
    await cluster.until(lambda: settled(cluster))
    events = (await cluster.client.list(Event, "shop")).items
    reasons = {event.reason for event in events}
    assert {"FailedScheduling", "Scheduled", "SuccessfulCreate", "ScalingReplicaSet"} <= reasons


async def test_every_node_gets_a_range_of_its_own(cluster: Cluster) -> None:
    for number in range(4):
        await cluster.add_node(f"n{number}")
    nodes = await cluster.until(lambda: all(n.spec.pod_cidr for n in cluster.all(Node)) and cluster.all(Node))
    assert len({node.spec.pod_cidr for node in nodes}) == 4


@pytest.mark.parametrize("policy", ["Background", "Foreground"])
async def test_owners_of_one_another_go_together(cluster: Cluster, policy: str) -> None:
    uids = {}
    for name in ("a", "b"):
        made = await cluster.client.create_tree(ConfigMap.resource, {"metadata": {"name": name}}, "shop")
        uids[name] = made["metadata"]["uid"]
    await cluster.until(lambda: len(cluster.all(ConfigMap)) == 2)
    for name, owner in (("a", "b"), ("b", "a")):
        ref = {"apiVersion": "v1", "kind": "ConfigMap", "name": owner, "uid": uids[owner], "blockOwnerDeletion": True}
        await cluster.client.patch(ConfigMap, name, "shop", {"metadata": {"ownerReferences": [ref]}})
    await cluster.client.delete(ConfigMap, "a", "shop", propagation_policy=policy)
    await cluster.until(lambda: not cluster.all(ConfigMap))
