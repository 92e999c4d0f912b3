"""HorizontalPodAutoscaler, autoscaling/v2: the version that is kept."""

from __future__ import annotations

from collections.abc import Iterator
from typing import ClassVar

import msgspec

from pilothouse.kinds.autoscaling.rules import check_autoscaler
from pilothouse.kinds.columns import AGE, NAME, NONE, UNKNOWN, UNSET, Column, field
from pilothouse.kinds.kind import Kind
from pilothouse.kinds.problems import section
from pilothouse.kinds.view import Condition, LabelSelector, Object, View
from pilothouse.machinery.objects import Obj, Resource


class CrossVersionObjectReference(View):
    api_version: str = ""
    kind: str = ""
    name: str = ""


class MetricTarget(View):
    """One of the three is set: two quantities and a percentage of the request."""

    type: str = ""
    value: str | int | float | None = None
    average_value: str | int | float | None = None
    average_utilization: int | None = None


class MetricIdentifier(View):
    name: str = ""
    selector: LabelSelector | None = None


class ResourceMetricSource(View):
    name: str = ""
    target: MetricTarget = msgspec.field(default_factory=MetricTarget)


class ContainerResourceMetricSource(View):
    name: str = ""
    container: str = ""
    target: MetricTarget = msgspec.field(default_factory=MetricTarget)


class PodsMetricSource(View):
    metric: MetricIdentifier = msgspec.field(default_factory=MetricIdentifier)
    target: MetricTarget = msgspec.field(default_factory=MetricTarget)


class ObjectMetricSource(View):
    described_object: CrossVersionObjectReference = msgspec.field(default_factory=CrossVersionObjectReference)
    metric: MetricIdentifier = msgspec.field(default_factory=MetricIdentifier)
    target: MetricTarget = msgspec.field(default_factory=MetricTarget)


class ExternalMetricSource(View):
    metric: MetricIdentifier = msgspec.field(default_factory=MetricIdentifier)
    target: MetricTarget = msgspec.field(default_factory=MetricTarget)


class MetricSpec(View):
    """`type` names the one source that is set."""

    type: str = ""
    resource: ResourceMetricSource | None = None
    container_resource: ContainerResourceMetricSource | None = None
    pods: PodsMetricSource | None = None
    object: ObjectMetricSource | None = None
    external: ExternalMetricSource | None = None


class HPAScalingPolicy(View):
    type: str = ""
    value: int = 0
    period_seconds: int = 0


class HPAScalingRules(View):
    stabilization_window_seconds: int | None = None
    select_policy: str | None = None
    policies: list[HPAScalingPolicy] = []
    tolerance: str | int | float | None = None


class HorizontalPodAutoscalerBehavior(View):
    scale_up: HPAScalingRules | None = None
    scale_down: HPAScalingRules | None = None


class HorizontalPodAutoscalerSpec(View):
    scale_target_ref: CrossVersionObjectReference = msgspec.field(default_factory=CrossVersionObjectReference)
    min_replicas: int | None = None
    max_replicas: int = 0
    metrics: list[MetricSpec] = []
    behavior: HorizontalPodAutoscalerBehavior | None = None


class HorizontalPodAutoscalerStatus(View):
    """`current_metrics` are MetricStatus trees."""

    observed_generation: int | None = None
    last_scale_time: str | None = None
    current_replicas: int = 0
    desired_replicas: int = 0
    current_metrics: list[Obj] = []
    conditions: list[Condition] = []


class HorizontalPodAutoscaler(Object):
    resource: ClassVar[Resource] = Resource(
        "autoscaling", "v2", "HorizontalPodAutoscaler", "horizontalpodautoscalers", True
    )

    spec: HorizontalPodAutoscalerSpec = msgspec.field(default_factory=HorizontalPodAutoscalerSpec)
    status: HorizontalPodAutoscalerStatus = msgspec.field(default_factory=HorizontalPodAutoscalerStatus)


DEFAULT_CPU_UTILIZATION = 80
"""Percent of the requested CPU aimed at when no metric is named."""

_SHOWN = 2


def cpu_utilization(percent: int) -> Obj:
    """The metric that aims at a share of the requested CPU."""
    target = {"type": "Utilization", "averageUtilization": percent}
    return {"type": "Resource", "resource": {"name": "cpu", "target": target}}


def _defaults(obj: Obj) -> None:
    """Upstream's: at least one replica, the CPU metric, and the scaling rules of a behaviour that is given."""
    spec = obj.setdefault("spec", {})
    spec.setdefault("minReplicas", 1)
    if not spec.get("metrics"):
        spec["metrics"] = [cpu_utilization(DEFAULT_CPU_UTILIZATION)]
    if obj.get("status"):
        # Clients that check what they read insist on it.
        obj["status"].setdefault("desiredReplicas", 0)
    behavior = spec.get("behavior")
    if behavior is None:
        return
    pods = {"type": "Pods", "value": 4, "periodSeconds": 15}
    percent = {"type": "Percent", "value": 100, "periodSeconds": 15}
    up = behavior.setdefault("scaleUp", {})
    up.setdefault("stabilizationWindowSeconds", 0)
    for rules, policies in ((up, [pods, percent]), (behavior.setdefault("scaleDown", {}), [percent])):
        rules.setdefault("selectPolicy", "Max")
        if "policies" not in rules:
            rules["policies"] = [dict(policy) for policy in policies]


def _targets(obj: Obj) -> str:
    """`cpu: 40%/80%, 3/10 (avg) + 1 more...`: where the metrics are and should be, two at most."""
    metrics = section(obj, "spec").get("metrics") or []
    if not metrics:
        return NONE
    found = list(_each_target(metrics, section(obj, "status").get("currentMetrics") or []))
    more = f" + {len(found) - _SHOWN} more..." if len(found) > _SHOWN else ""
    return ", ".join(found[:_SHOWN]) + more


def _each_target(metrics: list[Obj], current: list[Obj]) -> Iterator[str]:
    for index, metric in enumerate(metrics):
        type_ = str(metric.get("type", ""))
        key = type_[:1].lower() + type_[1:]
        source = section(metric, key)
        target, now = (
            section(source, "target"),
            section(section(current[index], key) if index < len(current) else {}, "current"),
        )
        label = f"{source.get('name', '')}: " if "ontainerResource" in key or key == "resource" else ""
        if type_ not in ("Resource", "ContainerResource", "Pods", "Object", "External"):
            yield "<unknown type>"
        elif target.get("averageValue") is not None:
            average = " (avg)" if type_ in ("Object", "External") else ""
            yield f"{label}{now.get('averageValue', UNKNOWN)}/{target['averageValue']}{average}"
        elif label:
            wanted = target.get("averageUtilization")
            yield f"{label}{_percent(now.get('averageUtilization'), UNKNOWN)}/{_percent(wanted, '<auto>')}"
        else:
            yield f"{now.get('value', UNKNOWN)}/{target.get('value', 0)}"


def _percent(value: int | None, missing: str) -> str:
    return missing if value is None else f"{value}%"


def _reference(obj: Obj) -> str:
    target = section(section(obj, "spec"), "scaleTargetRef")
    return f"{target.get('kind', '')}/{target.get('name', '')}"


KIND = Kind(
    view=HorizontalPodAutoscaler,
    short_names=("hpa",),
    categories=("all",),
    subresources=frozenset({"status"}),
    columns=(
        NAME,
        Column("Reference", _reference, "What it scales."),
        Column("Targets", _targets, "Metrics: where they are, and where they should be."),
        Column("MinPods", lambda obj: str(field("spec", "minReplicas", default=UNSET)(obj)), "Fewest pods."),
        Column("MaxPods", lambda obj: str(field("spec", "maxReplicas", default=0)(obj)), "Most pods."),
        Column("Replicas", field("status", "currentReplicas", default=0), "Pods there are."),
        AGE,
    ),
    defaults=_defaults,
    rules=check_autoscaler,
)
