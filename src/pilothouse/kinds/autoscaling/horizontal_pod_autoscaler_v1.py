"""HorizontalPodAutoscaler, autoscaling/v1: a CPU target only. Kept as autoscaling/v2.

What v1 has no field for travels in annotations, so that a client of v1 that writes back what it read loses nothing.
Source of their names and forms: upstream's conversions of autoscaling/v1.
"""

from __future__ import annotations

from typing import Any, ClassVar

import orjson

from pilothouse.kinds.autoscaling import horizontal_pod_autoscaler as v2
from pilothouse.kinds.columns import Column
from pilothouse.kinds.kind import Kind, StoredAs
from pilothouse.kinds.problems import Problems, section
from pilothouse.kinds.view import Object
from pilothouse.machinery.objects import Obj, Resource

_PREFIX = "autoscaling.alpha.kubernetes.io/"
METRICS, BEHAVIOR = _PREFIX + "metrics", _PREFIX + "behavior"
CONDITIONS, CURRENT_METRICS = _PREFIX + "conditions", _PREFIX + "current-metrics"


class HorizontalPodAutoscaler(Object):
    resource: ClassVar[Resource] = v2.HorizontalPodAutoscaler.resource._replace(version="v1")


def to_v2(obj: Obj) -> Obj:
    """The same autoscaler in v2; annotations that do not parse are dropped, as upstream does."""
    meta, spec, status = dict(section(obj, "metadata")), dict(section(obj, "spec")), dict(section(obj, "status"))
    notes = dict(section(meta, "annotations"))
    metrics = [_metric_in(entry) for entry in _listed(notes.pop(METRICS, None))]
    percent = spec.pop("targetCPUUtilizationPercentage", None)
    if percent is not None:
        metrics.insert(0, v2.cpu_utilization(percent))
    spec["metrics"] = metrics or [v2.cpu_utilization(v2.DEFAULT_CPU_UTILIZATION)]
    behavior = _parsed(notes.pop(BEHAVIOR, None))
    if isinstance(behavior, dict) and behavior:
        spec["behavior"] = behavior
    current = [_current_in(entry) for entry in _listed(notes.pop(CURRENT_METRICS, None))]
    percent = status.pop("currentCPUUtilizationPercentage", None)
    if percent is not None:
        cpu = {"name": "cpu", "current": {"averageUtilization": percent}}
        current.insert(0, {"type": "Resource", "resource": cpu})
    conditions = _listed(notes.pop(CONDITIONS, None))
    status.update({"currentMetrics": current} if current else {})
    status.update({"conditions": conditions} if conditions else {})
    return _made(v2.HorizontalPodAutoscaler.resource, meta, notes, spec, status)


def from_v2(obj: Obj) -> Obj:
    """The same autoscaler in v1."""
    meta, spec, status = dict(section(obj, "metadata")), dict(section(obj, "spec")), dict(section(obj, "status"))
    notes = dict(section(meta, "annotations"))
    others: list[Obj] = []
    for metric in spec.pop("metrics", None) or ():
        percent = _cpu_percent(metric, "target")
        if percent is not None and "targetCPUUtilizationPercentage" not in spec:
            spec["targetCPUUtilizationPercentage"] = percent
        else:
            others.append(_metric_out(metric))
    measured: list[Obj] = []
    for metric in status.pop("currentMetrics", None) or ():
        percent = _cpu_percent(metric, "current")
        if percent is not None:
            status.setdefault("currentCPUUtilizationPercentage", percent)
        measured.append(_current_out(metric))
    if status:
        status = {"currentReplicas": 0, "desiredReplicas": 0, **status}
    for name, value in (
        (METRICS, others),
        (BEHAVIOR, spec.pop("behavior", None)),
        (CURRENT_METRICS, measured),
        (CONDITIONS, status.pop("conditions", None)),
    ):
        if value:
            notes[name] = orjson.dumps(value).decode()
    return _made(HorizontalPodAutoscaler.resource, meta, notes, spec, status)


def _made(resource: Resource, meta: Obj, notes: Obj, spec: Obj, status: Obj) -> Obj:
    meta.pop("annotations", None)
    if notes:
        meta["annotations"] = notes
    made: Obj = {"apiVersion": resource.api_version, "kind": resource.kind, "metadata": meta, "spec": spec}
    return {**made, "status": status} if status else made


def _parsed(text: str | None) -> Any:
    try:
        return orjson.loads(text) if text else None
    except orjson.JSONDecodeError:
        return None


def _listed(text: str | None) -> list[Obj]:
    found = _parsed(text)
    return [entry for entry in found if isinstance(entry, dict)] if isinstance(found, list) else []


def _cpu_percent(metric: Obj, key: str) -> int | None:
    source = section(metric, "resource")
    if metric.get("type") != "Resource" or source.get("name") != "cpu":
        return None
    percent: int | None = section(source, key).get("averageUtilization")
    return percent


# Of each type of metric: where v1 has the metric's name and selector, its value, and its average.
_FLAT = {
    "resource": ("", "", "", "AverageValue"),
    "containerResource": ("", "", "", "AverageValue"),
    "pods": ("metricName", "selector", "", "AverageValue"),
    "object": ("metricName", "selector", "Value", "averageValue"),
    "external": ("metricName", "metricSelector", "Value", "AverageValue"),
}
_SAME = ("name", "container")


def _flat(metric: Obj, key: str) -> Obj:
    """A metric of v2 (`key` is target or current) as v1 writes it."""
    type_ = str(metric.get("type", ""))
    member = type_[:1].lower() + type_[1:]
    source, amount = section(metric, member), section(section(metric, member), key)
    name, selector, value, average = _FLAT.get(member, ("", "", "", ""))
    flat: Obj = {same: source[same] for same in _SAME if same in source}
    if member == "object":
        flat["target"] = source.get("describedObject") or {}
    if name:
        flat[name] = section(source, "metric").get("name", "")
        if section(source, "metric").get("selector"):
            flat[selector] = section(source, "metric")["selector"]
    if amount.get("averageUtilization") is not None:
        flat[f"{key}AverageUtilization"] = amount["averageUtilization"]
    if amount.get("averageValue") is not None:
        flat[average if average[:1] == "a" else key + average] = amount["averageValue"]
    if value and amount.get("value") is not None:
        flat[key + value] = amount["value"]
    return {"type": type_, member: flat}


def _deep(metric: Obj, key: str) -> Obj:
    """A metric as v1 writes it (`key` is target or current) in v2."""
    type_ = str(metric.get("type", ""))
    member = type_[:1].lower() + type_[1:]
    flat = section(metric, member)
    name, selector, value, average = _FLAT.get(member, ("", "", "", ""))
    source: Obj = {same: flat[same] for same in _SAME if same in flat}
    if member == "object":
        source["describedObject"] = flat.get("target") or {}
    if name:
        source["metric"] = {"name": flat.get(name, "")}
        if flat.get(selector):
            source["metric"]["selector"] = flat[selector]
    amount: Obj = {}
    for found, field, type_name in (
        (flat.get(key + value) if value else None, "value", "Value"),
        (flat.get(average if average[:1] == "a" else key + average), "averageValue", "AverageValue"),
        (flat.get(f"{key}AverageUtilization"), "averageUtilization", "Utilization"),
    ):
        if found is not None:
            amount[field] = found
            if key == "target":
                amount["type"] = type_name
    source[key] = amount
    return {"type": type_, member: source}


def _metric_out(metric: Obj) -> Obj:
    return _flat(metric, "target")


def _metric_in(metric: Obj) -> Obj:
    return _deep(metric, "target")


def _current_out(metric: Obj) -> Obj:
    return _flat(metric, "current")


def _current_in(metric: Obj) -> Obj:
    return _deep(metric, "current")


def _defaults(obj: Obj) -> None:
    obj.setdefault("spec", {}).setdefault("minReplicas", 1)


def _rules(obj: Obj, old: Obj | None, problems: Problems) -> None:
    v2.KIND.rules(to_v2(obj), None if old is None else to_v2(old), problems)


def _column(column: Column) -> Column:
    return Column(
        column.name,
        lambda obj: column.value(to_v2(obj)),
        column.description,
        column.type,
        column.format,
        column.priority,
    )


KIND = Kind(
    view=HorizontalPodAutoscaler,
    short_names=v2.KIND.short_names,
    categories=v2.KIND.categories,
    subresources=v2.KIND.subresources,
    columns=tuple(_column(column) for column in v2.KIND.columns),
    defaults=_defaults,
    rules=_rules,
    stored_as=StoredAs(v2.KIND, to_v2, from_v2),
)
