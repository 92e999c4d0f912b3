"""HorizontalPodAutoscaler, autoscaling/v2: the version that is kept."""

from __future__ import annotations

from collections.abc import Iterator
from typing import ClassVar

from pilothouse.kinds.columns import AGE, NAME, NONE, UNKNOWN, UNSET, Column, field
from pilothouse.kinds.kind import Kind
from pilothouse.kinds.problems import section
from pilothouse.kinds.view import Object
from pilothouse.machinery.objects import Obj, Resource


class HorizontalPodAutoscaler(Object):
    resource: ClassVar[Resource] = Resource(
        "autoscaling", "v2", "HorizontalPodAutoscaler", "horizontalpodautoscalers", True
    )


DEFAULT_CPU_UTILIZATION = 80
"""Percent of the requested CPU aimed at when no metric is named."""

_SHOWN = 2


def cpu_utilization(percent: int) -> Obj:
    """The metric that aims at a share of the requested CPU."""
    target = {"type": "Utilization", "averageUtilization": percent}
    return {"type": "Resource", "resource": {"name": "cpu", "target": target}}


def _defaults(obj: Obj) -> None:
    spec = obj.setdefault("spec", {})
    spec.setdefault("minReplicas", 1)
    if not spec.get("metrics"):
        spec["metrics"] = [cpu_utilization(DEFAULT_CPU_UTILIZATION)]


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
        Column("Replicas", field("status", "currentReplicas", default=0), "Pods there are.", type="integer"),
        AGE,
    ),
    defaults=_defaults,
)
