"""ResourceQuota and LimitRange, as whoever writes meets them."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import orjson
import pytest

from pilothouse.client.client import Client
from pilothouse.kinds.core.namespace import Namespace
from pilothouse.kinds.core.service_account import ServiceAccount
from pilothouse.machinery.errors import AlreadyExists, ApiError, Forbidden, Invalid
from pilothouse.machinery.objects import Obj
from pilothouse.store.memory import MemoryStore
from pilothouse.testing.control_plane import ControlPlane, admitting

NS = "/api/v1/namespaces/shop"


@pytest.fixture
async def client() -> AsyncIterator[Client]:
    store = MemoryStore()
    async with ControlPlane(store=store, chain=admitting(store)) as plane:
        made = plane.client()
        for namespace in ("shop", "other"):
            await made.create_tree(Namespace.resource, {"metadata": {"name": namespace}})
            await made.create_tree(ServiceAccount.resource, {"metadata": {"name": "default"}}, namespace)
        yield made


async def post(client: Client, path: str, tree: Obj, **query: str) -> Obj:
    body: Obj = orjson.loads(await client.request("POST", path, body=tree, query=list(query.items())))
    return body


async def quota(client: Client, name: str = "team", scopes: list[str] | None = None, **hard: str) -> Obj:
    spec: Obj = {"hard": {key.replace("__", "/").replace("_", "."): value for key, value in hard.items()}}
    return await post(
        client,
        f"{NS}/resourcequotas",
        {"metadata": {"name": name}, "spec": spec | ({"scopes": scopes} if scopes else {})},
    )


def pod(name: str, requests: Obj | None = None, limits: Obj | None = None, **spec: Any) -> Obj:
    container = {"name": "app", "image": "i", "resources": {"requests": requests or {}, "limits": limits or {}}}
    return {"metadata": {"name": name}, "spec": {"containers": [container], **spec}}


async def test_what_exceeds_a_quota_is_refused_in_upstreams_words(client: Client) -> None:
    await quota(client, requests_cpu="1", pods="5")
    await post(client, f"{NS}/pods", pod("a", {"cpu": "600m"}))
    with pytest.raises(Forbidden) as refused:
        await post(client, f"{NS}/pods", pod("b", {"cpu": "500m"}))
    assert refused.value.message == (
        'pods "b" is forbidden: exceeded quota: team, requested: requests.cpu=500m, used: requests.cpu=600m,'
        " limited: requests.cpu=1"
    )
    await post(client, f"{NS}/pods", pod("b", {"cpu": "400m"}))
    await post(client, "/api/v1/namespaces/other/pods", pod("b", {"cpu": "8"}))


async def test_a_pod_must_say_what_a_quota_limits(client: Client) -> None:
    await quota(client, limits_memory="1Gi", limits_cpu="2")
    with pytest.raises(
        Forbidden, match=r"failed quota: team: must specify limits.cpu for: app; limits.memory for: app"
    ):
        await post(client, f"{NS}/pods", pod("a", {"cpu": "1"}))


async def test_creates_side_by_side_never_exceed(client: Client) -> None:
    await quota(client, pods="7", count__configmaps="4")

    async def attempt(path: str, tree: Obj) -> bool:
        try:
            await post(client, path, tree)
        except Forbidden:
            return False
        return True

    made = await asyncio.gather(*(attempt(f"{NS}/pods", pod(f"p{index}")) for index in range(40)))
    assert sum(made) == 7
    maps = [{"metadata": {"generateName": "c-"}} for _ in range(20)]
    assert sum(await asyncio.gather(*(attempt(f"{NS}/configmaps", tree) for tree in maps))) == 4


async def test_what_fails_or_is_only_tried_uses_nothing(client: Client) -> None:
    await quota(client, pods="2")
    await post(client, f"{NS}/pods", pod("a"))
    for _ in range(3):
        with pytest.raises(AlreadyExists):
            await post(client, f"{NS}/pods", pod("a"))
        with pytest.raises(Invalid):
            await post(client, f"{NS}/pods", pod("Not-A-Name"))
        await post(client, f"{NS}/pods", pod("b"), dryRun="All")
    await post(client, f"{NS}/pods", pod("b"))
    with pytest.raises(Forbidden):
        await post(client, f"{NS}/pods", pod("c"), dryRun="All")


async def test_what_is_gone_or_ended_is_free_again(client: Client) -> None:
    await quota(client, pods="1")
    await post(client, f"{NS}/pods", pod("a"))
    patch = {"status": {"phase": "Succeeded"}}
    await client.request("PATCH", f"{NS}/pods/a/status", body=patch, content_type="application/merge-patch+json")
    await post(client, f"{NS}/pods", pod("b"))
    with pytest.raises(Forbidden):
        await post(client, f"{NS}/pods", pod("c"))
    await client.request("DELETE", f"{NS}/pods/b", body={"gracePeriodSeconds": 0})
    await post(client, f"{NS}/pods", pod("c"))


async def test_a_quota_counts_what_there_was_before_it(client: Client) -> None:
    await post(client, f"{NS}/pods", pod("a", {"memory": "1Gi"}))
    made = await quota(client, requests_memory="1536Mi")
    with pytest.raises(Forbidden, match=r"used: requests.memory=1Gi, limited: requests.memory=1536Mi"):
        await post(client, f"{NS}/pods", pod("b", {"memory": "1Gi"}))
    made["spec"]["hard"]["requests.memory"] = "2Gi"
    await client.request("PUT", f"{NS}/resourcequotas/team", body=made)
    await post(client, f"{NS}/pods", pod("b", {"memory": "1Gi"}))


async def test_scopes_choose_the_pods(client: Client) -> None:
    await quota(client, "best-effort", ["BestEffort"], pods="1")
    await quota(client, "ends", ["Terminating"], requests_cpu="1")
    await post(client, f"{NS}/pods", pod("a"))
    with pytest.raises(Forbidden, match="exceeded quota: best-effort"):
        await post(client, f"{NS}/pods", pod("b"))
    await post(client, f"{NS}/pods", pod("b", {"cpu": "4"}))
    with pytest.raises(Forbidden, match="exceeded quota: ends"):
        await post(client, f"{NS}/pods", pod("c", {"cpu": "4"}, activeDeadlineSeconds=60))


async def test_a_scope_selector_chooses_by_priority_class(client: Client) -> None:
    high = {"metadata": {"name": "high"}, "value": 1000}
    await post(client, "/apis/scheduling.k8s.io/v1/priorityclasses", high)
    selector = {"matchExpressions": [{"scopeName": "PriorityClass", "operator": "In", "values": ["high"]}]}
    spec = {"hard": {"pods": "1"}, "scopeSelector": selector}
    await post(client, f"{NS}/resourcequotas", {"metadata": {"name": "high"}, "spec": spec})
    await post(client, f"{NS}/pods", pod("a", priorityClassName="high"))
    await post(client, f"{NS}/pods", pod("b"))
    with pytest.raises(Forbidden, match="exceeded quota: high"):
        await post(client, f"{NS}/pods", pod("c", priorityClassName="high"))


async def test_objects_of_any_kind_are_counted(client: Client) -> None:
    await quota(client, count__deployments_apps="1", services_nodeports="1", secrets="1")
    template = {"metadata": {"labels": {"a": "b"}}, "spec": {"containers": [{"name": "c", "image": "i"}]}}
    spec = {"selector": {"matchLabels": {"a": "b"}}, "template": template}
    path = "/apis/apps/v1/namespaces/shop/deployments"
    await post(client, path, {"metadata": {"name": "one"}, "spec": spec})
    with pytest.raises(Forbidden) as refused:
        await post(client, path, {"metadata": {"name": "two"}, "spec": spec})
    assert refused.value.message == (
        'deployments.apps "two" is forbidden: exceeded quota: team, requested: count/deployments.apps=1,'
        " used: count/deployments.apps=1, limited: count/deployments.apps=1"
    )
    await post(client, f"{NS}/secrets", {"metadata": {"name": "a"}})
    with pytest.raises(Forbidden, match="secrets=1"):
        await post(client, f"{NS}/secrets", {"metadata": {"name": "b"}})


async def test_a_change_may_not_use_more_than_is_left(client: Client) -> None:
    await quota(client, services_nodeports="1", requests_storage="3Gi")
    ports = [{"name": "a", "port": 80}, {"name": "b", "port": 81}]
    service = await post(client, f"{NS}/services", {"metadata": {"name": "web"}, "spec": {"ports": ports}})
    service["spec"]["type"] = "NodePort"
    with pytest.raises(Forbidden, match=r"requested: services.nodeports=2, used: services.nodeports=0"):
        await client.request("PUT", f"{NS}/services/web", body=service)
    service["spec"]["ports"] = ports[:1]
    await client.request("PUT", f"{NS}/services/web", body=service)
    claim = {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "2Gi"}}, "storageClassName": "c"}
    await post(client, f"{NS}/persistentvolumeclaims", {"metadata": {"name": "a"}, "spec": claim})
    with pytest.raises(Forbidden, match=r"requested: requests.storage=2Gi, used: requests.storage=2Gi"):
        await post(client, f"{NS}/persistentvolumeclaims", {"metadata": {"name": "b"}, "spec": claim})


async def limits(client: Client, *items: Obj) -> None:
    await post(client, f"{NS}/limitranges", {"metadata": {"name": "sizes"}, "spec": {"limits": list(items)}})


async def test_a_limit_range_fills_in_what_containers_leave_out(client: Client) -> None:
    await limits(
        client, {"type": "Container", "default": {"cpu": "500m", "memory": "256Mi"}, "defaultRequest": {"cpu": "100m"}}
    )
    made = await post(client, f"{NS}/pods", pod("a", {"memory": "64Mi"}))
    assert made["spec"]["containers"][0]["resources"] == {
        "requests": {"cpu": "100m", "memory": "64Mi"},
        "limits": {"cpu": "500m", "memory": "256Mi"},
    }
    assert made["metadata"]["annotations"] == {
        "kubernetes.io/limit-ranger": "LimitRanger plugin set: cpu request for container app;"
        " cpu, memory limit for container app"
    }


@pytest.mark.parametrize(
    ("requests", "limit", "why"),
    [
        ({"cpu": "50m"}, {"cpu": "100m"}, "minimum cpu usage per Container is 100m, but request is 50m"),
        ({"cpu": "1"}, {"cpu": "3"}, "maximum cpu usage per Container is 2, but limit is 3"),
        (
            {"cpu": "100m"},
            {"cpu": "2"},
            "cpu max limit to request ratio per Container is 4, but provided ratio is 20.000000",
        ),
    ],
)
async def test_a_limit_range_refuses_what_is_out_of_bounds(client: Client, requests: Obj, limit: Obj, why: str) -> None:
    bounds = {"min": {"cpu": "100m"}, "max": {"cpu": "2"}, "maxLimitRequestRatio": {"cpu": "4"}}
    await limits(client, {"type": "Container", **bounds})
    with pytest.raises(ApiError) as refused:
        await post(client, f"{NS}/pods", pod("a", requests, limit))
    assert refused.value.code == 403
    assert refused.value.message == f'pods "a" is forbidden: {why}'


async def test_a_limit_range_bounds_whole_pods_and_claims(client: Client) -> None:
    await limits(
        client,
        {"type": "Pod", "max": {"memory": "1Gi"}},
        {"type": "PersistentVolumeClaim", "min": {"storage": "1Gi"}, "max": {"storage": "2Gi"}},
    )
    with pytest.raises(Forbidden, match=r"maximum memory usage per Pod is 1Gi.  No limit is specified"):
        await post(client, f"{NS}/pods", pod("a"))
    with pytest.raises(Forbidden, match="maximum memory usage per Pod is 1Gi, but limit is 2Gi"):
        await post(client, f"{NS}/pods", pod("a", limits={"memory": "2Gi"}))
    claim = {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "3Gi"}}}
    with pytest.raises(Forbidden, match="maximum storage usage per PersistentVolumeClaim is 2Gi, but request is 3Gi"):
        await post(client, f"{NS}/persistentvolumeclaims", {"metadata": {"name": "a"}, "spec": claim})


async def resize(client: Client, name: str, cpu: str) -> Obj:
    body = {"spec": {"containers": [{"name": "app", "resources": {"requests": {"cpu": cpu}, "limits": {"cpu": cpu}}}]}}
    path, form = f"{NS}/pods/{name}/resize", "application/strategic-merge-patch+json"
    tree: Obj = orjson.loads(await client.request("PATCH", path, body=body, content_type=form))
    return tree


async def test_a_resize_keeps_to_quota_and_limit_range(client: Client) -> None:
    await quota(client, requests_cpu="1")
    await limits(client, {"type": "Container", "max": {"cpu": "900m"}})
    for name in ("a", "b"):
        await post(client, f"{NS}/pods", pod(name, {"cpu": "300m"}, {"cpu": "300m"}))
    with pytest.raises(Forbidden, match="maximum cpu usage per Container is 900m, but limit is 950m"):
        await resize(client, "a", "950m")
    with pytest.raises(Forbidden, match=r"exceeded quota: team, requested: requests.cpu=500m, used: requests.cpu=600m"):
        await resize(client, "a", "800m")
    await resize(client, "a", "700m")
    with pytest.raises(Forbidden, match=r"requested: requests.cpu=100m, used: requests.cpu=1, limited"):
        await resize(client, "b", "400m")
    await resize(client, "a", "100m")
    await resize(client, "b", "400m")
