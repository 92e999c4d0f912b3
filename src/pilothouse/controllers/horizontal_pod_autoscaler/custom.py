"""The size that a metric of the custom or external metrics API asks for. Pure.

Source of the rules and wording: upstream's horizontal controller and replica calculator.
"""

from __future__ import annotations

import datetime as dt
import math
from collections.abc import Sequence
from fractions import Fraction

from pilothouse.controllers.horizontal_pod_autoscaler.metrics import duration
from pilothouse.controllers.horizontal_pod_autoscaler.usage import Readings, Sample, Unmeasured, by_average
from pilothouse.controllers.horizontal_pod_autoscaler.world import Measured, World
from pilothouse.controllers.pods import is_ready
from pilothouse.kinds.autoscaling.horizontal_pod_autoscaler import MetricIdentifier, MetricSpec, MetricTarget
from pilothouse.kinds.view import LabelSelector, to_tree
from pilothouse.machinery.objects import Obj, parse_timestamp
from pilothouse.machinery.quantity import InvalidQuantity, Quantity, parse_quantity
from pilothouse.machinery.selectors import from_label_selector

CUSTOM = ("Pods", "Object", "External")
"""Types of metrics that other APIs serve."""


def identifier(metric: MetricSpec) -> MetricIdentifier:
    """The name and selector of a custom or external metric."""
    source = metric.pods or metric.object or metric.external
    return source.metric if source is not None else MetricIdentifier()


def question(metric: MetricSpec) -> str:
    """By which a metric's answer is found in the world."""
    asked, about = identifier(metric), metric.object.described_object if metric.object is not None else None
    where = f"/{about.api_version}/{about.kind}/{about.name}" if about is not None else ""
    return f"{metric.type}{where}/{asked.name}?{selector_text(asked.selector)}"


def selector_text(selector: LabelSelector | None) -> str:
    """A metric's selector as a query parameter; "" without one."""
    return str(from_label_selector(selector)) if selector is not None else ""


def measure_custom(metric: MetricSpec, world: World) -> Measured:
    """Raises Unmeasured with three texts, as `measure`."""
    name = identifier(metric).name
    if metric.type == "External":
        what, reason = f"{name} external", "FailedGetExternalMetric"
    else:
        what, reason = metric.type.lower(), f"FailedGet{metric.type}Metric"
    try:
        return _measured(metric, world)
    except (Unmeasured, InvalidQuantity) as error:
        raise Unmeasured(f"failed to get {what} metric value: {error}", reason, str(error)) from error


def _measured(metric: MetricSpec, world: World) -> Measured:
    answer = world.answers.get(question(metric), "not asked")
    asked = identifier(metric)
    if isinstance(answer, str):
        api = "external" if metric.type == "External" else "custom"
        kind = "external metric" if metric.type == "External" else "metric"
        raise Unmeasured(f"unable to get {kind} {asked.name}: unable to fetch metrics from {api} metrics API: {answer}")
    if metric.type == "Pods" and metric.pods is not None:
        return _pods(metric.pods.target, asked, answer, world)
    total = sum((parse_quantity(item.get("value", "0")) for item in answer), Fraction(0))
    if metric.type == "Object" and metric.object is not None:
        about = metric.object.described_object
        size, current = _from_value(metric.object.target, total, world)
        status: Obj = {"describedObject": to_tree(about), "metric": to_tree(asked), "current": current}
        return Measured(size, f"{about.kind} metric {asked.name}", {"type": "Object", "object": status})
    if metric.external is None:
        raise Unmeasured("invalid metric source")
    size, current = _from_value(metric.external.target, total, world)
    chosen = selector_text(asked.selector) or "nil"
    status = {"metric": to_tree(asked), "current": current}
    return Measured(size, f"external metric {asked.name}({chosen})", {"type": "External", "external": status})


def _pods(target: MetricTarget, asked: MetricIdentifier, answer: Sequence[Obj], world: World) -> Measured:
    """By the average over the target's pods."""
    samples = {}
    for item in answer:
        window = dt.timedelta(seconds=item["windowSeconds"]) if "windowSeconds" in item else duration("60s")
        value = math.ceil(parse_quantity(item.get("value", "0")) * 1000)
        samples[item["describedObject"]["name"]] = Sample(value, parse_timestamp(item["timestamp"]), window)
    readings = Readings(world.pods, samples, "", world.scale.wanted, world.tolerance, world.now)
    found = by_average(readings, math.ceil(parse_quantity(target.average_value or "0") * 1000))
    current = {"averageValue": str(Quantity(Fraction(found.average, 1000)))}
    status: Obj = {"metric": to_tree(asked), "current": current}
    return Measured(found.replicas, f"pods metric {asked.name}", {"type": "Pods", "pods": status})


def _from_value(target: MetricTarget, total: Fraction, world: World) -> tuple[int, Obj]:
    """The size for one number that concerns the whole target, and the MetricValueStatus."""
    if target.average_value is not None:
        wanted, there = parse_quantity(target.average_value), world.scale.current
        fits = there > 0 and world.tolerance.holds(total / (wanted * there))
        average = total / there if there else total
        return there if fits else math.ceil(total / wanted), {"averageValue": _rounded(average)}
    if target.value is None:
        raise Unmeasured("invalid metric source: neither a value target nor an average value target was set")
    ratio = total / parse_quantity(target.value)
    if world.scale.wanted == 0:
        return math.ceil(ratio), {"value": _rounded(total)}
    if world.tolerance.holds(ratio):
        return world.scale.wanted, {"value": _rounded(total)}
    if not world.pods:
        raise Unmeasured("unable to calculate ready pods: no pods returned by selector while calculating replica count")
    ready = sum(pod.status.phase == "Running" and is_ready(pod) for pod in world.pods)
    return math.ceil(ratio * ready), {"value": _rounded(total)}


def _rounded(value: Fraction) -> str:
    return str(Quantity(Fraction(math.ceil(value * 1000), 1000)))
