"""Custom resources and the controllers that look at objects of every kind."""

from __future__ import annotations

from typing import Any

from cluster_world import Cluster

from pilothouse.controllers.metadata import metadata_view
from pilothouse.kinds.apiextensions.definition import CustomResourceDefinition
from pilothouse.kinds.core.config_map import ConfigMap
from pilothouse.kinds.core.namespace import Namespace
from pilothouse.kinds.core.resource_quota import ResourceQuota
from pilothouse.machinery.objects import Obj, Resource

GROUP = "example.com"
BOAT = Resource(GROUP, "v1", "Boat", "boats", True)


def definition(plural: str = "boats", kind: str = "Boat", scope: str = "Namespaced", **names: Any) -> Obj:
    schema = {"type": "object", "x-kubernetes-preserve-unknown-fields": True}
    version = {"name": "v1", "served": True, "storage": True, "schema": {"openAPIV3Schema": schema}}
    return {
        "metadata": {"name": f"{plural}.{GROUP}"},
        "spec": {
            "group": GROUP,
            "scope": scope,
            "names": {"plural": plural, "kind": kind, **names},
            "versions": [version],
        },
    }


def watched(cluster: Cluster) -> None:
    for cls in (CustomResourceDefinition, ConfigMap):
        cluster.informers.of(cls).subscribe(lambda key, old, new: cluster._changed.set())


async def make(cluster: Cluster, name: str, namespace: str = "shop", **metadata: Any) -> Obj:
    return await cluster.client.create_tree(BOAT, {"metadata": {"name": name, **metadata}}, namespace)


def owned_by(owner: Obj) -> list[Obj]:
    reference = {"apiVersion": owner["apiVersion"], "kind": owner["kind"]}
    return [{**reference, "name": owner["metadata"]["name"], "uid": owner["metadata"]["uid"]}]


async def test_what_a_custom_resource_owns_goes_with_it(cluster: Cluster) -> None:
    watched(cluster)
    await cluster.client.create_tree(CustomResourceDefinition.resource, definition())
    owner = await make(cluster, "owner")
    await make(cluster, "owned", ownerReferences=owned_by(owner))
    config = {"metadata": {"name": "owned", "ownerReferences": owned_by(owner)}}
    await cluster.client.create_tree(ConfigMap.resource, config, "shop")
    await cluster.until(lambda: cluster.get(ConfigMap, "shop/owned"))
    await cluster.client.delete(metadata_view(BOAT), "owner", "shop")
    await cluster.until(lambda: cluster.get(ConfigMap, "shop/owned") is None)
    boats = cluster.informers.of(metadata_view(BOAT))
    boats.subscribe(lambda key, old, new: cluster._changed.set())
    await cluster.until(lambda: len(boats) == 0)


async def test_instances_go_with_their_definition_those_with_finalizers_when_they_may(cluster: Cluster) -> None:
    watched(cluster)
    await cluster.client.create_tree(CustomResourceDefinition.resource, definition())
    await make(cluster, "free")
    await make(cluster, "held", finalizers=["example.com/hold"])
    name = f"boats.{GROUP}"
    await cluster.client.delete(CustomResourceDefinition, name)

    def in_progress() -> bool:
        found = cluster.get(CustomResourceDefinition, name)
        return any(c.reason == "InstanceDeletionInProgress" for c in found.status.conditions)

    await cluster.until(in_progress)
    page = await cluster.client.list(metadata_view(BOAT))
    assert [boat.name for boat in page.items] == ["held"]
    await cluster.client.patch(metadata_view(BOAT), "held", "shop", {"metadata": {"finalizers": None}})
    await cluster.until(lambda: cluster.get(CustomResourceDefinition, name) is None)
    # Made anew it starts empty.
    await cluster.client.create_tree(CustomResourceDefinition.resource, definition())
    assert (await cluster.client.list(metadata_view(BOAT))).items == []


async def test_a_namespace_goes_with_its_custom_resources(cluster: Cluster) -> None:
    watched(cluster)
    await cluster.client.create_tree(CustomResourceDefinition.resource, definition())
    await cluster.client.create_tree(Namespace.resource, {"metadata": {"name": "quay"}})
    await make(cluster, "a", "quay")
    await make(cluster, "b", "shop")
    await cluster.client.delete(Namespace, "quay")
    await cluster.until(lambda: cluster.get(Namespace, "quay") is None)
    page = await cluster.client.list(metadata_view(BOAT))
    assert [boat.name for boat in page.items] == ["b"]


async def test_a_quota_counts_custom_resources_whichever_comes_first(cluster: Cluster) -> None:
    watched(cluster)
    cluster.informers.of(ResourceQuota).subscribe(lambda key, old, new: cluster._changed.set())
    spec = {"hard": {"count/boats.example.com": "2"}}
    await cluster.client.create_tree(ResourceQuota.resource, {"metadata": {"name": "q"}, "spec": spec}, "shop")
    await cluster.client.create_tree(CustomResourceDefinition.resource, definition())

    def used(count: str) -> bool:
        found = cluster.get(ResourceQuota, "shop/q")
        return found is not None and found.status.used.get("count/boats.example.com") == count

    await make(cluster, "a")
    await cluster.until(lambda: used("1"))
    await make(cluster, "b")
    await cluster.until(lambda: used("2"))
    await cluster.client.delete(metadata_view(BOAT), "a", "shop")
    await cluster.until(lambda: used("1"))


async def test_a_name_that_is_freed_goes_to_who_waits_for_it(cluster: Cluster) -> None:
    watched(cluster)
    await cluster.client.create_tree(CustomResourceDefinition.resource, definition(shortNames=["b"]))
    waiting = definition("barges", "Barge", shortNames=["b"])
    await cluster.client.create_tree(CustomResourceDefinition.resource, waiting)
    found = await cluster.client.get(CustomResourceDefinition, f"barges.{GROUP}")
    assert not found.has("Established")
    await cluster.client.delete(CustomResourceDefinition, f"boats.{GROUP}")
    await cluster.until(lambda: cluster.get(CustomResourceDefinition, f"barges.{GROUP}").has("Established"))
