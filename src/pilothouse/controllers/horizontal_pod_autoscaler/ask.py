"""Asks the APIs of metrics, whoever serves them: an answer, or why there is none."""

from __future__ import annotations

import orjson

from pilothouse.client.client import Client
from pilothouse.controllers.horizontal_pod_autoscaler.custom import CUSTOM, identifier, question, selector_text
from pilothouse.controllers.horizontal_pod_autoscaler.world import RESOURCES, MetricsAnswer
from pilothouse.controllers.scaling import CannotScale, ScaleTargets
from pilothouse.kinds.autoscaling.horizontal_pod_autoscaler import HorizontalPodAutoscaler, MetricSpec
from pilothouse.machinery.errors import ApiError, NotFound
from pilothouse.machinery.objects import Obj, Resource
from pilothouse.machinery.selectors import Selector

_POD_METRICS = Resource("metrics.k8s.io", "v1beta1", "PodMetrics", "pods", True)
_CUSTOM, _EXTERNAL = "custom.metrics.k8s.io", "external.metrics.k8s.io"


class Metrics:
    """`targets` knows which resource a kind is."""

    def __init__(self, client: Client, targets: ScaleTargets) -> None:
        self._client = client
        self._targets = targets

    async def answers(self, autoscaler: HorizontalPodAutoscaler, selector: Selector) -> dict[str, MetricsAnswer]:
        """An answer to each question that the autoscaler's metrics ask, `selector` being that of the target's pods."""
        found: dict[str, MetricsAnswer] = {}
        for metric in autoscaler.spec.metrics:
            name = question(metric) if metric.type in CUSTOM else RESOURCES
            if name in found:
                continue
            try:
                if metric.type in CUSTOM:
                    found[name] = await self._custom(metric, autoscaler.namespace, selector)
                else:
                    found[name] = await self._items(
                        _POD_METRICS.path(autoscaler.namespace), [("labelSelector", str(selector))]
                    )
            except (ApiError, CannotScale, ValueError) as error:
                found[name] = str(error)
        return found

    async def _custom(self, metric: MetricSpec, namespace: str, pods: Selector) -> MetricsAnswer:
        asked = identifier(metric)
        chosen = selector_text(asked.selector)
        if metric.type == "External":
            base = f"/apis/{_EXTERNAL}/{await self._version(_EXTERNAL, 'external')}"
            query = [("labelSelector", chosen)] if chosen else []
            return await self._items(f"{base}/namespaces/{namespace}/{asked.name}", query)
        base = f"/apis/{_CUSTOM}/{await self._version(_CUSTOM, 'custom')}"
        query = [("metricLabelSelector", chosen)] if chosen else []
        if metric.type == "Pods":
            query.append(("labelSelector", str(pods)))
            return await self._items(f"{base}/namespaces/{namespace}/pods/*/{asked.name}", query)
        about = metric.object.described_object if metric.object is not None else None
        if about is None:
            raise ValueError("the metric names no object")
        if about.kind == "Namespace" and "/" not in about.api_version:
            return await self._items(f"{base}/namespaces/{about.name}/metrics/{asked.name}", query)
        resource = await self._targets.resource(about.api_version, about.kind)
        plural = f"{resource.plural}.{resource.group}" if resource.group else resource.plural
        inside = f"/namespaces/{namespace}" if resource.namespaced else ""
        return await self._items(f"{base}{inside}/{plural}/{about.name}/{asked.name}", query)

    async def _version(self, group: str, what: str) -> str:
        try:
            document: Obj = orjson.loads(await self._client.request("GET", f"/apis/{group}"))
        except NotFound as error:
            raise ValueError(f"no {what} metrics API ({group}) registered") from error
        version: str = document["preferredVersion"]["version"]
        return version

    async def _items(self, path: str, query: list[tuple[str, str]]) -> list[Obj]:
        items: list[Obj] = orjson.loads(await self._client.request("GET", path, query=query)).get("items") or []
        return items
