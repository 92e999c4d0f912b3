"""One object in two versions: what is written in one is read, watched and selected in the other."""

import asyncio
from typing import Any

import orjson
import pytest

from pilothouse.client.client import Client
from pilothouse.machinery.errors import Conflict, Invalid, NotFound
from pilothouse.machinery.objects import Obj
from pilothouse.testing.control_plane import ControlPlane

V1 = "/apis/autoscaling/v1/namespaces/ns/horizontalpodautoscalers"
V2 = "/apis/autoscaling/v2/namespaces/ns/horizontalpodautoscalers"
CORE_EVENTS = "/api/v1/namespaces/ns/events"
EVENTS = "/apis/events.k8s.io/v1/namespaces/ns/events"
METRICS = "autoscaling.alpha.kubernetes.io/metrics"


async def call(client: Client, method: str, path: str, body: Any = None, **query: str) -> Obj:
    found: Obj = orjson.loads(await client.request(method, path, body=body, query=list(query.items())))
    return found


def autoscaler(**spec: Any) -> Obj:
    target = {"apiVersion": "apps/v1", "kind": "Deployment", "name": "web"}
    return {"metadata": {"name": "web"}, "spec": {"scaleTargetRef": target, "maxReplicas": 5, **spec}}


async def test_an_autoscaler_of_v1_is_one_of_v2(plane: ControlPlane) -> None:
    client = plane.client()
    await call(client, "POST", V1, autoscaler(targetCPUUtilizationPercentage=70))
    found = await call(client, "GET", f"{V2}/web")
    assert found["apiVersion"] == "autoscaling/v2"
    target = {"type": "Utilization", "averageUtilization": 70}
    assert found["spec"]["metrics"] == [{"type": "Resource", "resource": {"name": "cpu", "target": target}}]
    assert "targetCPUUtilizationPercentage" not in found["spec"]
    again = await call(client, "GET", f"{V1}/web")
    assert (again["apiVersion"], again["spec"]["targetCPUUtilizationPercentage"]) == ("autoscaling/v1", 70)
    assert again["metadata"]["resourceVersion"] == found["metadata"]["resourceVersion"]


async def test_a_client_of_v1_that_puts_back_what_it_read_loses_nothing(plane: ControlPlane) -> None:
    client = plane.client()
    memory = {
        "type": "Resource",
        "resource": {"name": "memory", "target": {"type": "AverageValue", "averageValue": "1Gi"}},
    }
    queue = {
        "metric": {"name": "q", "selector": {"matchLabels": {"a": "b"}}},
        "target": {"type": "Value", "value": "3"},
    }
    metrics = [memory, {"type": "External", "external": queue}]
    behavior = {"scaleDown": {"stabilizationWindowSeconds": 60}}
    before = await call(client, "POST", V2, autoscaler(metrics=metrics, behavior=behavior))
    old = await call(client, "GET", f"{V1}/web")
    assert METRICS in old["metadata"]["annotations"]
    old["spec"]["maxReplicas"] = 9
    await call(client, "PUT", f"{V1}/web", old)
    after = await call(client, "GET", f"{V2}/web")
    assert after["spec"] == {**before["spec"], "maxReplicas": 9}
    assert "annotations" not in after["metadata"]


async def test_a_stale_write_conflicts_whatever_its_version(plane: ControlPlane) -> None:
    client = plane.client()
    old = await call(client, "POST", V1, autoscaler())
    await call(client, "PUT", f"{V2}/web", {**autoscaler(maxReplicas=6), "apiVersion": "autoscaling/v2"})
    with pytest.raises(Conflict):
        await call(client, "PUT", f"{V1}/web", old)
    await call(client, "DELETE", f"{V1}/web")
    with pytest.raises(NotFound):
        await call(client, "GET", f"{V2}/web")


async def test_a_watch_and_a_list_speak_the_version_asked_for(plane: ControlPlane) -> None:
    client = plane.client()
    watched = await client.send("GET", V1, query=[("watch", "true")])
    assert watched.stream is not None
    await call(client, "POST", V2, autoscaler())
    added = orjson.loads(await asyncio.wait_for(anext(watched.stream), 60))
    assert (added["type"], added["object"]["apiVersion"]) == ("ADDED", "autoscaling/v1")
    assert added["object"]["spec"]["targetCPUUtilizationPercentage"] == 80
    listed = await call(client, "GET", V1)
    assert (listed["apiVersion"], [item["apiVersion"] for item in listed["items"]]) == (
        "autoscaling/v1",
        ["autoscaling/v1"],
    )


def event(**fields: Any) -> Obj:
    regarding = {"kind": "Pod", "namespace": "ns", "name": "web"}
    common = {"reportingInstance": "operator-1", "action": "Restarting", "reason": "Restarted", "type": "Normal"}
    return (
        {"metadata": {"name": "web.1"}, "eventTime": "2026-03-01T12:00:00.000000Z", "regarding": regarding}
        | common
        | fields
    )


async def test_an_event_of_either_group_is_one_of_both(plane: ControlPlane) -> None:
    client = plane.client()
    await call(client, "POST", EVENTS, event(note="was restarted", reportingController="example.com/operator"))
    found = await call(client, "GET", f"{CORE_EVENTS}/web.1")
    assert found["involvedObject"]["name"] == "web"
    assert (found["message"], found["reportingComponent"]) == ("was restarted", "example.com/operator")
    listed = await call(client, "GET", EVENTS, fieldSelector="regarding.name=web,reason=Restarted")
    assert [item["note"] for item in listed["items"]] == ["was restarted"]
    assert listed["items"][0]["apiVersion"] == "events.k8s.io/v1"
    await call(client, "DELETE", EVENTS)
    assert (await call(client, "GET", CORE_EVENTS))["items"] == []


async def test_an_event_of_the_new_group_says_who_reports_it(plane: ControlPlane) -> None:
    with pytest.raises(Invalid, match="reportingController: Required value"):
        await call(plane.client(), "POST", EVENTS, event())


async def test_a_deprecated_kind_warns_of_itself(plane: ControlPlane) -> None:
    answer = await plane.client().send("GET", "/api/v1/namespaces/ns/endpoints")
    text = "v1 Endpoints is deprecated in v1.33+; use discovery.k8s.io/v1 EndpointSlice"
    assert answer.headers["warning"] == f'299 - "{text}"'
