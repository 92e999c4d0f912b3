"""Scheduling over the real API."""

from __future__ import annotations

from typing import Any

from cluster_world import Cluster

from pilothouse.kinds.core.node import Node
from pilothouse.kinds.core.pod import Pod
from pilothouse.machinery.objects import Obj


def pod(name: str, cpu: str = "100m", **spec: Any) -> Obj:
    container = {"name": "c", "image": "i", "resources": {"requests": {"cpu": cpu}}}
    return {"metadata": {"name": name}, "spec": {"containers": [container], **spec}}


def placed(cluster: Cluster) -> list[Pod]:
    return [p for p in cluster.all(Pod) if p.spec.node_name]


def message(cluster: Cluster, key: str, reason: str) -> str:
    found: Pod | None = cluster.get(Pod, key)
    conditions = found.status.conditions if found is not None else []
    return next((c.message for c in conditions if c.type == "PodScheduled" and c.reason == reason), "")


async def test_many_pods_at_once_never_overcommit_a_node(cluster: Cluster) -> None:
    for name in ("n1", "n2", "n3"):
        await cluster.add_node(name, cpu="4")
    for number in range(60):
        await cluster.client.create_tree(Pod.resource, pod(f"p{number}", "250m"), "shop")
    await cluster.until(lambda: len(placed(cluster)) == 48)
    await cluster.until(lambda: sum(bool(message(cluster, p.key, "Unschedulable")) for p in cluster.all(Pod)) == 12)
    counts = {name: sum(p.spec.node_name == name for p in placed(cluster)) for name in ("n1", "n2", "n3")}
    assert set(counts.values()) == {16}


async def test_a_gated_pod_waits_for_its_gate(cluster: Cluster) -> None:
    await cluster.add_node("n1")
    await cluster.client.create_tree(Pod.resource, pod("p", schedulingGates=[{"name": "example.com/g"}]), "shop")
    assert await cluster.until(lambda: message(cluster, "shop/p", "SchedulingGated"))
    assert not placed(cluster)
    await cluster.client.patch(Pod, "p", "shop", {"spec": {"schedulingGates": []}})
    await cluster.until(lambda: placed(cluster))


async def test_a_cordoned_node_takes_pods_again_when_released(cluster: Cluster) -> None:
    await cluster.add_node("n1")
    await cluster.client.patch(Node, "n1", None, {"spec": {"unschedulable": True}})
    await cluster.until(lambda: (n := cluster.get(Node, "n1")) and n.spec.taints)
    await cluster.client.create_tree(Pod.resource, pod("p"), "shop")
    text = await cluster.until(lambda: message(cluster, "shop/p", "Unschedulable"))
    assert text == "0/1 nodes are available: 1 node(s) were unschedulable."
    await cluster.client.patch(Node, "n1", None, {"spec": {"unschedulable": None}})
    await cluster.until(lambda: placed(cluster))


async def test_an_important_pod_takes_the_place_of_a_minor_one(cluster: Cluster) -> None:
    await cluster.add_node("n1", cpu="1")
    await cluster.client.create_tree(Pod.resource, pod("minor", "800m", priority=1), "shop")
    await cluster.until(lambda: placed(cluster))
    await cluster.client.create_tree(Pod.resource, pod("major", "800m", priority=10), "shop")
    await cluster.until(lambda: cluster.get(Pod, "shop/minor") is None)
    await cluster.until(lambda: (p := cluster.get(Pod, "shop/major")) and p.spec.node_name == "n1")
    assert cluster.get(Pod, "shop/major").status.nominated_node_name in ("n1", "")


async def test_another_schedulers_pods_are_left_alone(cluster: Cluster) -> None:
    await cluster.add_node("n1")
    await cluster.client.create_tree(Pod.resource, pod("theirs", schedulerName="other"), "shop")
    await cluster.client.create_tree(Pod.resource, pod("ours"), "shop")
    await cluster.until(lambda: placed(cluster))
    assert [p.name for p in placed(cluster)] == ["ours"]
