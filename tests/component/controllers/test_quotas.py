"""Quotas as their owners see them: in the status, in the events of what they hold up, and in what deploy says."""

from __future__ import annotations

from typing import Any

from cluster_world import Cluster, deployment

from pilothouse.cli.progress import Progress
from pilothouse.cli.workloads import progress_of
from pilothouse.kinds.apps.deployment import Deployment
from pilothouse.kinds.apps.replica_set import ReplicaSet
from pilothouse.kinds.apps.stateful_set import StatefulSet
from pilothouse.kinds.core.config_map import ConfigMap
from pilothouse.kinds.core.event import Event
from pilothouse.kinds.core.pod import Pod
from pilothouse.kinds.core.resource_quota import ResourceQuota
from pilothouse.machinery.objects import Obj


async def quota(cluster: Cluster, hard: Obj) -> None:
    await cluster.client.create_tree(
        ResourceQuota.resource, {"metadata": {"name": "team"}, "spec": {"hard": hard}}, "shop"
    )


def used(cluster: Cluster) -> Obj:
    found: ResourceQuota | None = cluster.get(ResourceQuota, "shop/team")
    return found.status.used if found is not None else {}


def progress(cluster: Cluster, cls: type[Any], name: str) -> Progress | None:
    live = cluster.get(cls, f"shop/{name}")
    return live and progress_of(live, cluster.all(ReplicaSet), cluster.all(Pod), cluster.all(Event))


def failures(cluster: Cluster, kind: str) -> list[str]:
    found: list[Event] = cluster.all(Event)
    return [e.message for e in found if e.reason == "FailedCreate" and e.involved_object.kind == kind]


async def test_the_status_follows_what_is_used(strict_cluster: Cluster) -> None:
    cluster = strict_cluster
    await cluster.client.create_tree(ConfigMap.resource, {"metadata": {"name": "before"}}, "shop")
    await quota(cluster, {"pods": "10", "count/configmaps": "9", "count/deployments.apps": "3"})
    # kube-root-ca.crt is published by a controller that is not of this room.
    await cluster.until(
        lambda: used(cluster) == {"pods": "0", "count/configmaps": "1", "count/deployments.apps": "0"}, 60
    )
    await cluster.add_node("n1")
    await cluster.client.create_tree(Deployment.resource, deployment(replicas=3), "shop")
    await cluster.until(lambda: (used(cluster)["pods"], used(cluster)["count/deployments.apps"]) == ("3", "1"), 60)
    await cluster.client.patch(Deployment, "web", "shop", {"spec": {"replicas": 1}})
    await cluster.until(lambda: used(cluster)["pods"] == "1", 60)
    spec = {"spec": {"hard": {"pods": "12", "count/configmaps": None}}}
    await cluster.client.patch(ResourceQuota, "team", "shop", spec)
    await cluster.until(lambda: used(cluster) == {"pods": "1", "count/deployments.apps": "1"}, 60)
    assert cluster.get(ResourceQuota, "shop/team").status.hard == {"pods": "12", "count/deployments.apps": "3"}


async def test_a_deployment_held_up_by_a_quota_says_so_and_goes_on_when_it_may(strict_cluster: Cluster) -> None:
    cluster = strict_cluster
    await cluster.add_node("n1")
    await quota(cluster, {"pods": "2"})
    await cluster.until(lambda: used(cluster) == {"pods": "0"}, 60)
    await cluster.client.create_tree(Deployment.resource, deployment(replicas=3), "shop")
    exceeded = "exceeded quota: team, requested: pods=1, used: pods=2, limited: pods=2"
    await cluster.until(lambda: any(exceeded in message for message in failures(cluster, "ReplicaSet")), 60)
    held = await cluster.until(lambda: (p := progress(cluster, Deployment, "web")) and p.state == "failed" and p, 60)
    assert exceeded in held.text
    await cluster.client.patch(ResourceQuota, "team", "shop", {"spec": {"hard": {"pods": "3"}}})
    await cluster.until(lambda: (p := progress(cluster, Deployment, "web")) and p.state == "ready", 120)


async def test_a_stateful_set_held_up_by_a_quota_says_so(strict_cluster: Cluster) -> None:
    cluster = strict_cluster
    await cluster.add_node("n1")
    await quota(cluster, {"limits.memory": "1Gi"})
    tree = deployment(name="db", replicas=1)
    tree["spec"]["serviceName"] = "db"
    await cluster.client.create_tree(StatefulSet.resource, tree, "shop")
    held = await cluster.until(lambda: (p := progress(cluster, StatefulSet, "db")) and p.state == "failed" and p, 60)
    assert "failed quota: team: must specify limits.memory for: main" in held.text
