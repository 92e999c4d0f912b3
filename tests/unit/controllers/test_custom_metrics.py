"""Autoscaling on metrics of other APIs: what is asked of them, and what follows from their answers."""

from __future__ import annotations

from typing import Any

import msgspec
import orjson
import pytest
from autoscaling_world import START, World, cpu

from pilothouse.client.client import Client
from pilothouse.client.wire import Request, Response
from pilothouse.controllers.horizontal_pod_autoscaler.ask import Metrics
from pilothouse.controllers.horizontal_pod_autoscaler.custom import question
from pilothouse.controllers.horizontal_pod_autoscaler.world import RESOURCES
from pilothouse.controllers.scaling import Scale, ScaleTargets
from pilothouse.kinds.autoscaling.horizontal_pod_autoscaler import HorizontalPodAutoscaler, MetricSpec
from pilothouse.machinery.errors import NotFound
from pilothouse.machinery.objects import Obj, timestamp
from pilothouse.machinery.selector_text import parse_label_selector

INGRESS = {"apiVersion": "networking.k8s.io/v1", "kind": "Ingress", "name": "front"}


def pods(name: str, average: str) -> Obj:
    target = {"type": "AverageValue", "averageValue": average}
    return {"type": "Pods", "pods": {"metric": {"name": name}, "target": target}}


def external(**target: Any) -> Obj:
    metric = {"name": "lag", "selector": {"matchLabels": {"queue": "q"}}}
    return {"type": "External", "external": {"metric": metric, "target": {"type": "Value", **target}}}


def about(**target: Any) -> Obj:
    source = {"describedObject": INGRESS, "metric": {"name": "hits"}, "target": {"type": "Value", **target}}
    return {"type": "Object", "object": source}


def value(amount: str, pod: str = "") -> Obj:
    return {"describedObject": {"kind": "Pod", "name": pod}, "value": amount, "timestamp": timestamp(START)}


class Custom(World):
    """A world whose custom metric has that answer."""

    def __init__(self, replicas: int, metric: Obj, answer: Any, **spec: Any) -> None:
        super().__init__(replicas, lambda _: 0, metrics=[metric], **spec)
        self._question, self._answer = question(msgspec.convert(metric, MetricSpec)), answer

    def look(self) -> None:
        self.step(answers={self._question: self._answer})


@pytest.mark.parametrize(
    ("metric", "answer", "after"),
    [
        (pods("hits", "10"), [value("20", "p0"), value("40", "p1")], 4),
        (pods("hits", "500m"), [value("500m", "p0"), value("520m", "p1")], 2),
        (external(value="10"), [value("15"), value("15")], 4),  # three times the target: six, four at once
        (external(averageValue="10"), [value("30")], 3),
        (about(value="100"), [value("190")], 4),
        (about(averageValue="100"), [value("301")], 4),
        (about(averageValue="100"), [value("205")], 2),
    ],
)
def test_what_follows_from_a_value(metric: Obj, answer: list[Obj], after: int) -> None:
    world = Custom(2, metric, answer)
    world.look()
    assert world.replicas == after
    assert world.says("ScalingActive") == ("True", "ValidMetricFound")
    (status,) = world.autoscaler.status.current_metrics
    assert status["type"] == metric["type"]


def test_to_zero_and_back() -> None:
    metric = external(averageValue="10")
    behavior = {"scaleDown": {"stabilizationWindowSeconds": 0}}
    world = Custom(2, metric, [value("0")], minReplicas=0, behavior=behavior)
    world.look()
    assert world.replicas == 0
    world._answer = [value("25")]
    world.step(answers={world._question: world._answer}, scale=Scale("uid", "1", 0, 0, "app=web"), pods=[], metrics=[])
    assert world.replicas == 3


@pytest.mark.parametrize(
    ("metric", "reason", "message"),
    [
        (
            pods("hits", "1"),
            "FailedGetPodsMetric",
            "unable to get metric hits: unable to fetch metrics from custom metrics API: away",
        ),
        (
            about(value="1"),
            "FailedGetObjectMetric",
            "unable to get metric hits: unable to fetch metrics from custom metrics API: away",
        ),
        (
            external(value="1"),
            "FailedGetExternalMetric",
            "unable to get external metric lag: unable to fetch metrics from external metrics API: away",
        ),
    ],
)
def test_an_api_that_does_not_answer_is_named(metric: Obj, reason: str, message: str) -> None:
    world = Custom(2, metric, "away")
    world.look()
    assert world.replicas == 2
    assert world.says("ScalingActive") == ("False", reason)
    assert world.message("ScalingActive") == f"the HPA was unable to compute the replica count: {message}"


class Server:
    """Answers by path; keeps what was asked."""

    def __init__(self, answers: dict[str, Obj]) -> None:
        self._answers = answers
        self.asked: list[str] = []

    async def send(self, request: Request) -> Response:
        query = "&".join(f"{key}={value}" for key, value in request.query)
        self.asked.append(f"{request.path}?{query}" if query else request.path)
        if request.path not in self._answers:
            return Response(
                404, {}, orjson.dumps(NotFound("the server could not find the requested resource").status())
            )
        return Response(200, {}, orjson.dumps(self._answers[request.path]))

    async def close(self) -> None:
        return None


async def ask(server: Server, *metrics: Obj) -> dict[str, Any]:
    client = Client(server)
    tree = {"metadata": {"name": "web", "namespace": "shop"}, "spec": {"metrics": list(metrics)}}
    autoscaler = msgspec.convert(tree, HorizontalPodAutoscaler)
    return await Metrics(client, ScaleTargets(client)).answers(autoscaler, parse_label_selector("app=web"))


async def test_what_is_asked() -> None:
    custom, outside = "/apis/custom.metrics.k8s.io", "/apis/external.metrics.k8s.io"
    ingresses = {"resources": [{"name": "ingresses", "kind": "Ingress", "namespaced": True}]}
    server = Server(
        {
            custom: {"preferredVersion": {"version": "v1beta2"}},
            outside: {"preferredVersion": {"version": "v1beta1"}},
            "/apis/networking.k8s.io/v1": ingresses,
            f"{custom}/v1beta2/namespaces/shop/pods/*/hits": {"items": [value("1", "p")]},
            f"{custom}/v1beta2/namespaces/shop/ingresses.networking.k8s.io/front/hits": {"items": [value("2")]},
            f"{outside}/v1beta1/namespaces/shop/lag": {"items": [value("3")]},
            "/apis/metrics.k8s.io/v1beta1/namespaces/shop/pods": {"items": []},
        }
    )
    found = await ask(server, cpu(50), pods("hits", "1"), about(value="1"), external(value="1"))
    assert [item["value"] for answer in found.values() for item in answer] == ["1", "2", "3"]
    assert found[RESOURCES] == []
    assert f"{custom}/v1beta2/namespaces/shop/pods/*/hits?labelSelector=app=web" in server.asked
    assert f"{outside}/v1beta1/namespaces/shop/lag?labelSelector=queue=q" in server.asked


async def test_an_api_that_is_not_there_is_named() -> None:
    found = await ask(Server({}), pods("hits", "1"), external(value="1"))
    assert list(found.values()) == [
        "no custom metrics API (custom.metrics.k8s.io) registered",
        "no external metrics API (external.metrics.k8s.io) registered",
    ]
