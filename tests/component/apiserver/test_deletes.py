"""delete and deletecollection: preconditions, finalizers, propagation, graceful pods, namespaces, eviction."""

from typing import Any

import orjson
import pytest

from pilothouse.client.client import Client
from pilothouse.kinds.core.config_map import ConfigMap
from pilothouse.kinds.core.namespace import Namespace
from pilothouse.kinds.core.pod import Pod
from pilothouse.kinds.view import ObjectMeta
from pilothouse.machinery.errors import BadRequest, Conflict, Forbidden, Invalid, NotFound
from pilothouse.machinery.objects import Obj
from pilothouse.testing.control_plane import ControlPlane

CONFIG_MAPS = "/api/v1/namespaces/ns/configmaps"
PODS = "/api/v1/namespaces/ns/pods"


async def delete(client: Client, path: str, body: Any = None, **query: str) -> Obj:
    tree: Obj = orjson.loads(await client.request("DELETE", path, body=body, query=list(query.items())))
    return tree


async def make(client: Client, name: str, **meta: Any) -> ConfigMap:
    return await client.create(ConfigMap(metadata=ObjectMeta(name=name, namespace="ns", **meta)))


async def make_pod(client: Client, name: str, *, node: str = "", **spec: Any) -> None:
    containers = [{"name": "c", "image": "i"}]
    await client.request("POST", PODS, body={"metadata": {"name": name}, "spec": {"containers": containers, **spec}})
    if node:
        await client.request("POST", f"{PODS}/{name}/binding", body={"target": {"kind": "Node", "name": node}})


async def test_delete_answers_with_what_is_gone(plane: ControlPlane) -> None:
    client = plane.client()
    made = await make(client, "a")
    answer = await delete(client, f"{CONFIG_MAPS}/a")
    assert (answer["status"], answer["details"]["uid"]) == ("Success", made.metadata.uid)
    with pytest.raises(NotFound):
        await delete(client, f"{CONFIG_MAPS}/a")


async def test_preconditions(plane: ControlPlane) -> None:
    client = plane.client()
    made = await make(client, "a")
    with pytest.raises(Conflict, match="UID in precondition: other"):
        await client.delete(ConfigMap, "a", "ns", uid="other")
    with pytest.raises(Conflict, match="ResourceVersion in precondition: 77"):
        await client.delete(ConfigMap, "a", "ns", resource_version="77")
    await client.delete(ConfigMap, "a", "ns", uid=made.metadata.uid, resource_version=made.metadata.resource_version)
    assert await client.find(ConfigMap, "a", "ns") is None


async def test_an_object_with_finalizers_goes_when_the_last_is_taken_away(plane: ControlPlane) -> None:
    client = plane.client()
    await make(client, "a", finalizers=["example.com/one"])
    marked = await delete(client, f"{CONFIG_MAPS}/a")
    assert marked["metadata"]["deletionTimestamp"]
    again = await delete(client, f"{CONFIG_MAPS}/a")
    assert again["metadata"]["resourceVersion"] == marked["metadata"]["resourceVersion"]
    with pytest.raises((Forbidden, Invalid)):
        await client.patch(ConfigMap, "a", "ns", {"metadata": {"finalizers": ["example.com/one", "example.com/two"]}})
    await client.patch(ConfigMap, "a", "ns", {"metadata": {"finalizers": []}})
    assert await client.find(ConfigMap, "a", "ns") is None


@pytest.mark.parametrize(("policy", "finalizer"), [("Foreground", "foregroundDeletion"), ("Orphan", "orphan")])
async def test_propagation_policy_becomes_a_finalizer(plane: ControlPlane, policy: str, finalizer: str) -> None:
    client = plane.client()
    await make(client, "a")
    marked = await delete(client, f"{CONFIG_MAPS}/a", propagationPolicy=policy)
    assert marked["metadata"]["finalizers"] == [finalizer]
    answer = await delete(client, f"{CONFIG_MAPS}/a", {"propagationPolicy": "Background"})
    assert answer["status"] == "Success"


async def test_options_that_make_no_sense_are_refused(plane: ControlPlane) -> None:
    client = plane.client()
    await make(client, "a")
    with pytest.raises(Invalid, match="propagationPolicy"):
        await delete(client, f"{CONFIG_MAPS}/a", propagationPolicy="Sideways")
    with pytest.raises(BadRequest, match="gracePeriodSeconds"):
        await delete(client, f"{CONFIG_MAPS}/a", gracePeriodSeconds="soon")
    assert (await delete(client, f"{CONFIG_MAPS}/a", {"dryRun": ["All"]}))["status"] == "Success"
    assert await client.find(ConfigMap, "a", "ns") is not None


async def test_a_pod_on_a_node_is_given_its_time(plane: ControlPlane) -> None:
    client = plane.client()
    await make_pod(client, "p", node="n", terminationGracePeriodSeconds=20)
    marked = await delete(client, f"{PODS}/p")
    assert marked["metadata"]["deletionGracePeriodSeconds"] == 20
    longer = await delete(client, f"{PODS}/p", {"gracePeriodSeconds": 60})
    assert longer["metadata"]["deletionTimestamp"] == marked["metadata"]["deletionTimestamp"]
    shorter = await delete(client, f"{PODS}/p", {"gracePeriodSeconds": 5})
    assert shorter["metadata"]["deletionGracePeriodSeconds"] == 5
    assert shorter["metadata"]["deletionTimestamp"] < marked["metadata"]["deletionTimestamp"]
    await client.delete(Pod, "p", "ns", grace_period_seconds=0, uid=marked["metadata"]["uid"])
    assert await client.find(Pod, "p", "ns") is None


async def test_a_pod_without_a_node_or_finished_goes_at_once(plane: ControlPlane) -> None:
    client = plane.client()
    await make_pod(client, "waiting")
    await make_pod(client, "done", node="n")
    await client.patch(Pod, "done", "ns", {"status": {"phase": "Succeeded"}}, subresource="status")
    for name in ("waiting", "done"):
        await client.delete(Pod, name, "ns")
        assert await client.find(Pod, name, "ns") is None


async def test_a_namespace_waits_for_its_finalizer(plane: ControlPlane) -> None:
    client = plane.client()
    await client.create(Namespace(metadata=ObjectMeta(name="x")))
    marked = await delete(client, "/api/v1/namespaces/x")
    assert (marked["status"]["phase"], marked["spec"]["finalizers"]) == ("Terminating", ["kubernetes"])
    marked["spec"]["finalizers"] = []
    await client.request("PUT", "/api/v1/namespaces/x/finalize", body=marked)
    assert await client.find(Namespace, "x") is None


async def test_delete_collection_by_selector(plane: ControlPlane) -> None:
    client = plane.client()
    for n in range(5):
        await make(client, f"a{n}", labels={"n": str(n % 2)})
    answer = await delete(client, CONFIG_MAPS, labelSelector="n=0")
    assert len(answer["items"]) == 3
    assert [c.name for c in (await client.list(ConfigMap, "ns")).items] == ["a1", "a3"]


async def test_eviction_deletes(plane: ControlPlane) -> None:
    client = plane.client()
    await make_pod(client, "p", node="n")
    body = {"apiVersion": "policy/v1", "kind": "Eviction", "metadata": {"name": "p"}}
    await client.request("POST", f"{PODS}/p/eviction", body=body)
    assert (await client.get(Pod, "p", "ns")).metadata.deletion_timestamp
