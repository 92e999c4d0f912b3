"""Autoscalers over the real API, with nodes that say what their pods use."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any, cast

import orjson
import pytest
import pytest_asyncio
from cluster_world import Cluster, deployment

from pilothouse.apiserver.node_link import NodeAddress, NodeLink
from pilothouse.controllers.metadata import metadata_view
from pilothouse.kinds.apiextensions.definition import CustomResourceDefinition
from pilothouse.kinds.apps.deployment import Deployment
from pilothouse.kinds.apps.replica_set import ReplicaSet
from pilothouse.kinds.apps.stateful_set import StatefulSet
from pilothouse.kinds.autoscaling.horizontal_pod_autoscaler import HorizontalPodAutoscaler
from pilothouse.kinds.core.event import Event
from pilothouse.kinds.core.namespace import Namespace
from pilothouse.kinds.core.pod import Pod
from pilothouse.kinds.core.replication_controller import ReplicationController
from pilothouse.machinery.objects import Obj, Resource, timestamp
from pilothouse.testing.control_plane import ControlPlane

WEB = "shop/web"
MIB = 1024 * 1024


class Meters:
    """Answers as nodes do: every running pod uses an equal part of `total` bytes."""

    def __init__(self) -> None:
        self.total = 0
        self.cluster: Cluster | None = None

    async def read(self, address: NodeAddress, path: str, seconds: float) -> bytes:
        assert self.cluster is not None
        assert path == "/stats/summary"
        pods = [p for p in self.cluster.all(Pod) if p.status.phase == "Running"]
        entries = []
        for pod in pods:
            used = {"cpu": {"time": timestamp(), "usageNanoCores": 1000}, "memory": {"workingSetBytes": 0}}
            used["memory"]["workingSetBytes"] = self.total // len(pods)
            ref = {"name": pod.name, "namespace": pod.namespace, "uid": pod.metadata.uid}
            entries.append({"podRef": ref, "containers": [{"name": "main", **used}]})
        return orjson.dumps({"node": {}, "pods": entries})

    async def close(self) -> None:
        return None


@pytest.fixture
def meters(monkeypatch: pytest.MonkeyPatch) -> Meters:
    # What a node said is believed for seconds, which nobody needs here.
    monkeypatch.setattr("pilothouse.apiserver.resource_metrics.serve._KEPT_SECONDS", 0.0)
    return Meters()


@pytest_asyncio.fixture
async def cluster(meters: Meters) -> AsyncIterator[Cluster]:
    async with ControlPlane(nodes=cast(NodeLink, meters)) as plane:
        made = meters.cluster = Cluster(plane)
        await made.client.create_tree(Namespace.resource, {"metadata": {"name": "shop"}})
        running = asyncio.create_task(made.run())
        yield made
        running.cancel()
        made.controllers.cancel()
        await asyncio.wait([running, made.controllers])


def memory(mebibytes: int) -> Obj:
    target = {"type": "AverageValue", "averageValue": f"{mebibytes}Mi"}
    return {"type": "Resource", "resource": {"name": "memory", "target": target}}


async def autoscale(cluster: Cluster, name: str = "web", kind: str = "apps/v1 Deployment", **spec: Any) -> None:
    api_version, _, kind = kind.partition(" ")
    spec.setdefault("maxReplicas", 10)
    spec.setdefault("behavior", {"scaleDown": {"stabilizationWindowSeconds": 0}})
    ref = {"apiVersion": api_version, "kind": kind, "name": "web"}
    tree = {"metadata": {"name": name}, "spec": {"scaleTargetRef": ref, "metrics": [memory(100)], **spec}}
    await cluster.client.create_tree(HorizontalPodAutoscaler.resource, tree, "shop")


def says(cluster: Cluster, type: str, key: str = WEB) -> tuple[str, str]:
    found: HorizontalPodAutoscaler | None = cluster.get(HorizontalPodAutoscaler, key)
    condition = next((c for c in found.status.conditions if c.type == type), None) if found else None
    return (condition.status, condition.reason) if condition else ("", "")


def size(cluster: Cluster, cls: type[Any] = Deployment) -> int:
    found = cluster.get(cls, WEB)
    return found.spec.replicas if found is not None and found.status.ready_replicas == found.spec.replicas else -1


async def test_load_that_comes_and_goes(cluster: Cluster, meters: Meters) -> None:
    await cluster.add_node("n1", cpu="64")
    await cluster.client.create_tree(Deployment.resource, deployment(replicas=2), "shop")
    await cluster.until(lambda: size(cluster) == 2)
    meters.total = 600 * MIB
    await autoscale(cluster)
    await cluster.until(lambda: size(cluster) == 6)
    await cluster.until(lambda: says(cluster, "ScalingActive") == ("True", "ValidMetricFound"))
    meters.total = 300 * MIB
    await cluster.until(lambda: size(cluster) == 3)
    found: HorizontalPodAutoscaler = await cluster.client.get(HorizontalPodAutoscaler, "web", "shop")
    assert found.status.last_scale_time
    events = (await cluster.client.list(Event, "shop")).items
    assert "New size: 6; reason: memory resource above target" in {event.message for event in events}


@pytest.mark.parametrize(
    ("kind", "cls"),
    [
        ("apps/v1 ReplicaSet", ReplicaSet),
        ("apps/v1 StatefulSet", StatefulSet),
        ("v1 ReplicationController", ReplicationController),
    ],
)
async def test_whatever_has_a_scale(cluster: Cluster, meters: Meters, kind: str, cls: type[Any]) -> None:
    await cluster.add_node("n1", cpu="64")
    tree = deployment(replicas=1)
    if cls is ReplicationController:
        tree["spec"]["selector"] = {"app": "web"}
    await cluster.client.create_tree(cls.resource, tree, "shop")
    await cluster.until(lambda: size(cluster, cls) == 1)
    meters.total = 200 * MIB
    await autoscale(cluster, kind=kind)
    await cluster.until(lambda: size(cluster, cls) == 2)


async def test_a_custom_resource_with_a_scale(cluster: Cluster, meters: Meters) -> None:
    """Its own controller would make the pods; here they are made by hand."""
    await cluster.add_node("n1", cpu="64")
    schema = {"type": "object", "x-kubernetes-preserve-unknown-fields": True}
    paths = {
        "specReplicasPath": ".spec.size",
        "statusReplicasPath": ".status.size",
        "labelSelectorPath": ".status.selector",
    }
    version = {"name": "v1", "served": True, "storage": True, "schema": {"openAPIV3Schema": schema}}
    version["subresources"] = {"status": {}, "scale": paths}
    names = {"plural": "fleets", "kind": "Fleet"}
    spec = {"group": "example.com", "scope": "Namespaced", "names": names, "versions": [version]}
    definition = {"metadata": {"name": "fleets.example.com"}, "spec": spec}
    await cluster.client.create_tree(CustomResourceDefinition.resource, definition)
    fleet = Resource("example.com", "v1", "Fleet", "fleets", True)
    await cluster.client.create_tree(fleet, {"metadata": {"name": "web"}, "spec": {"size": 1}}, "shop")
    view = metadata_view(fleet)
    status = {"status": {"size": 1, "selector": "app=web"}}
    await cluster.client.patch(view, "web", "shop", status, subresource="status")
    container = {"name": "main", "image": "web:1"}
    pod = {"metadata": {"name": "p", "labels": {"app": "web"}}, "spec": {"containers": [container]}}
    await cluster.client.create_tree(Pod.resource, pod, "shop")
    meters.total = 300 * MIB
    await autoscale(cluster, kind="example.com/v1 Fleet")
    await cluster.until(lambda: says(cluster, "AbleToScale") == ("True", "SucceededRescale"))
    found = orjson.loads(await cluster.client.request("GET", fleet.path("shop", "web")))
    assert found["spec"]["size"] >= 3


async def test_two_autoscalers_of_one_target_are_named_and_stop(cluster: Cluster, meters: Meters) -> None:
    await cluster.add_node("n1", cpu="64")
    await cluster.client.create_tree(Deployment.resource, deployment(replicas=3), "shop")
    await cluster.until(lambda: size(cluster) == 3)
    await autoscale(cluster, maxReplicas=3)
    await autoscale(cluster, name="other", minReplicas=5)
    for key in (WEB, "shop/other"):
        await cluster.until(lambda key=key: says(cluster, "ScalingActive", key) == ("False", "AmbiguousSelector"))
    before = cluster.get(Deployment, WEB).metadata.generation
    version = cluster.get(HorizontalPodAutoscaler, WEB).metadata.resource_version
    await cluster.client.delete(HorizontalPodAutoscaler, "other", "shop")
    await cluster.until(lambda: says(cluster, "ScalingActive") == ("True", "ValidMetricFound"))
    assert cluster.get(Deployment, WEB).metadata.generation >= before
    assert cluster.get(HorizontalPodAutoscaler, WEB).metadata.resource_version != version


@pytest.mark.parametrize(
    ("kind", "text"),
    [
        ("apps/v1 Deployment", 'deployments.apps "web" not found'),
        ("apps/v1 DaemonSet", "daemonsets.apps does not implement the scale subresource"),
        ("example.com/v1 Widget", 'no matches for kind "Widget" in group "example.com"'),
    ],
)
async def test_a_target_that_cannot_be_scaled_is_named(cluster: Cluster, kind: str, text: str) -> None:
    await autoscale(cluster, kind=kind)
    await cluster.until(lambda: says(cluster, "AbleToScale") == ("False", "FailedGetScale"))
    found: HorizontalPodAutoscaler = cluster.get(HorizontalPodAutoscaler, WEB)
    assert text in found.status.conditions[0].message
