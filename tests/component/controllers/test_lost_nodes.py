"""A node that falls silent: marked, tainted, emptied, out of its Services; and welcomed back."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest
import pytest_asyncio
from cluster_world import Cluster, deployment

from pilothouse.controllers.node_lifecycle import controller as node_lifecycle
from pilothouse.kinds.apps.deployment import Deployment
from pilothouse.kinds.coordination.lease import Lease
from pilothouse.kinds.core.namespace import Namespace
from pilothouse.kinds.core.node import Node
from pilothouse.kinds.core.pod import Pod
from pilothouse.machinery.objects import Obj, micro_timestamp

LEASES = "kube-node-lease"
UNREACHABLE = "node.kubernetes.io/unreachable"


@pytest.fixture(autouse=True)
def _short_grace(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(node_lifecycle, "GRACE_SECONDS", 0.4)
    monkeypatch.setattr(node_lifecycle, "PERIOD_SECONDS", 0.05)


class Heart:
    """Renews the leases of the nodes in `beating`."""

    def __init__(self, cluster: Cluster) -> None:
        self._cluster = cluster
        self.beating: set[str] = set()

    async def add(self, name: str) -> None:
        await self._cluster.add_node(name)
        await self._cluster.client.create_tree(Lease.resource, {"metadata": {"name": name}, "spec": {}}, LEASES)
        self.beating.add(name)

    async def run(self) -> None:
        while True:
            for name in sorted(self.beating):
                patch = {"spec": {"holderIdentity": name, "renewTime": micro_timestamp()}}
                await self._cluster.client.patch(Lease, name, LEASES, patch)
            await asyncio.sleep(0.1)


@pytest_asyncio.fixture
async def heart(cluster: Cluster) -> AsyncIterator[Heart]:
    made = Heart(cluster)
    await cluster.client.create_tree(Namespace.resource, {"metadata": {"name": LEASES}})
    for name in ("n1", "n2", "n3"):
        await made.add(name)
    task = asyncio.create_task(made.run())
    yield made
    task.cancel()


def ready(cluster: Cluster, name: str) -> str:
    node: Node | None = cluster.get(Node, name)
    return next((c.status for c in node.status.conditions if c.type == "Ready"), "") if node else ""


def available(cluster: Cluster) -> int:
    found: Deployment | None = cluster.get(Deployment, "shop/web")
    return found.status.available_replicas if found is not None else 0


def taints(cluster: Cluster, name: str) -> list[tuple[str, str]]:
    node: Node | None = cluster.get(Node, name)
    return [(taint.key, taint.effect) for taint in node.spec.taints] if node else []


async def test_a_silent_node_is_emptied_and_welcomed_back(cluster: Cluster, heart: Heart) -> None:
    tree: Obj = deployment(replicas=6)
    tolerations = [{"key": UNREACHABLE, "operator": "Exists", "effect": "NoExecute", "tolerationSeconds": 0}]
    tree["spec"]["template"]["spec"]["tolerations"] = tolerations
    await cluster.client.create_tree(Deployment.resource, tree, "shop")
    await cluster.until(lambda: available(cluster) == 6)
    assert any(pod.spec.node_name == "n3" for pod in cluster.all(Pod))
    heart.beating.discard("n3")
    await cluster.until(lambda: ready(cluster, "n3") == "Unknown")
    await cluster.until(lambda: taints(cluster, "n3") == [(UNREACHABLE, "NoSchedule"), (UNREACHABLE, "NoExecute")])
    await cluster.until(
        lambda: (
            cluster.get(Deployment, "shop/web").status.available_replicas == 6
            and all(pod.spec.node_name != "n3" for pod in cluster.all(Pod))
        )
    )
    assert ready(cluster, "n1") == ready(cluster, "n2") == "True"
    heart.beating.add("n3")
    back = {"status": {"conditions": [{"type": "Ready", "status": "True", "reason": "KubeletReady"}]}}
    await cluster.client.patch(Node, "n3", None, back, type="strategic", subresource="status")
    await cluster.until(lambda: not taints(cluster, "n3"))


async def test_pods_of_a_silent_node_do_not_count_as_ready_until_it_is_back(cluster: Cluster, heart: Heart) -> None:
    await cluster.client.create_tree(Deployment.resource, deployment(replicas=6), "shop")
    await cluster.until(lambda: available(cluster) == 6)
    # From now on no node writes anything about its pods: for them nothing changes.
    cluster.runs_pods = False
    before = {pod.metadata.uid for pod in cluster.all(Pod)}
    there = sum(pod.spec.node_name == "n3" for pod in cluster.all(Pod))
    assert there
    heart.beating.discard("n3")
    await cluster.until(lambda: available(cluster) == 6 - there)
    heart.beating.add("n3")
    back = {"status": {"conditions": [{"type": "Ready", "status": "True", "reason": "KubeletReady"}]}}
    await cluster.client.patch(Node, "n3", None, back, type="strategic", subresource="status")
    await cluster.until(lambda: available(cluster) == 6)
    assert {pod.metadata.uid for pod in cluster.all(Pod)} == before


async def test_when_all_fall_silent_no_pod_is_evicted(cluster: Cluster, heart: Heart) -> None:
    await cluster.client.create_tree(Deployment.resource, deployment(replicas=3), "shop")
    await cluster.until(lambda: available(cluster) == 3)
    before = {pod.metadata.uid for pod in cluster.all(Pod)}
    heart.beating.clear()
    names = ("n1", "n2", "n3")
    await cluster.until(lambda: all(ready(cluster, name) == "Unknown" for name in names))
    await cluster.until(lambda: all((UNREACHABLE, "NoSchedule") in taints(cluster, name) for name in names))
    assert {pod.metadata.uid for pod in cluster.all(Pod)} == before


async def test_pods_of_a_node_that_is_out_of_service_go_without_its_word(cluster: Cluster, heart: Heart) -> None:
    await cluster.client.create_tree(Deployment.resource, deployment(replicas=6), "shop")
    await cluster.until(lambda: available(cluster) == 6)
    cluster.runs_pods = False
    heart.beating.discard("n3")
    await cluster.until(lambda: ready(cluster, "n3") == "Unknown")
    victim = next(pod for pod in cluster.all(Pod) if pod.spec.node_name == "n3")
    await cluster.client.delete(Pod, victim.name, victim.namespace)
    await cluster.until(lambda: cluster.get(Pod, victim.key).metadata.deletion_timestamp is not None)
    taint = {"key": "node.kubernetes.io/out-of-service", "value": "nodeshutdown", "effect": "NoExecute"}
    await cluster.client.patch(Node, "n3", None, {"spec": {"taints": [taint]}}, type="strategic")
    await cluster.until(lambda: all(pod.spec.node_name != "n3" for pod in cluster.all(Pod)))
