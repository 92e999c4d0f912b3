"""The size that one metric of an autoscaler asks for, and how the metric stands. Pure.

Source of the rules and wording: upstream's horizontal controller.
"""

from __future__ import annotations

import math
from fractions import Fraction

from pilothouse.controllers.horizontal_pod_autoscaler.custom import CUSTOM, measure_custom
from pilothouse.controllers.horizontal_pod_autoscaler.metrics import resource_samples
from pilothouse.controllers.horizontal_pod_autoscaler.usage import (
    Proposal,
    Readings,
    Unmeasured,
    by_average,
    by_utilisation,
)
from pilothouse.controllers.horizontal_pod_autoscaler.world import RESOURCES, Measured, World
from pilothouse.kinds.autoscaling.horizontal_pod_autoscaler import MetricSpec, MetricTarget
from pilothouse.machinery.objects import Obj
from pilothouse.machinery.quantity import Quantity, parse_quantity


def measure(metric: MetricSpec, world: World) -> Measured:
    """Raises Unmeasured with three texts: the error, the reason of condition and event, and the error within."""
    if metric.type == "Resource" and metric.resource is not None:
        source = metric.resource
        return _resource(source.name, "", source.target, world)
    if metric.type == "ContainerResource" and metric.container_resource is not None:
        inside = metric.container_resource
        return _resource(inside.name, inside.container, inside.target, world)
    if metric.type in CUSTOM:
        return measure_custom(metric, world)
    text = f'unknown metric source type "{metric.type}"'
    raise Unmeasured(text, "InvalidMetricSourceType", text)


def _resource(resource: str, container: str, target: MetricTarget, world: World) -> Measured:
    """By the resource's use in the pods, or in one of their containers."""
    kind = "container resource" if container else "resource"
    reason = "FailedGetContainerResourceMetric" if container else "FailedGetResourceMetric"
    try:
        proposal = _proposal(resource, container, target, world)
    except Unmeasured as error:
        inner = f"failed to get {resource} {'usage' if container else 'utilization'}: {error}"
        what = f"{container} container" if container else f"{resource} resource"
        raise Unmeasured(f"failed to get {what} metric value: {inner}", reason, inner) from error
    name = f"{resource} {kind}"
    current: Obj = {"averageValue": str(Quantity(Fraction(proposal.average, 1000)))}
    if proposal.utilisation is not None:
        name += " utilization (percentage of request)"
        current["averageUtilization"] = proposal.utilisation
    status: Obj = {"name": resource, "current": current}
    if container:
        status["container"] = container
        return Measured(proposal.replicas, name, {"type": "ContainerResource", "containerResource": status})
    return Measured(proposal.replicas, name, {"type": "Resource", "resource": status})


def _proposal(resource: str, container: str, target: MetricTarget, world: World) -> Proposal:
    answer = world.answers.get(RESOURCES, "not asked")
    try:
        if isinstance(answer, str):
            raise Unmeasured(f"unable to fetch metrics from resource metrics API: {answer}")
        samples = resource_samples(answer, resource, container)
    except Unmeasured as error:
        raise Unmeasured(f"unable to get metrics for resource {resource}: {error}") from error
    readings = Readings(world.pods, samples, resource, world.scale.wanted, world.tolerance, world.now)
    if target.average_value is not None:
        wanted = math.ceil(parse_quantity(target.average_value) * 1000)
        return by_average(readings, wanted)
    if target.average_utilization is None:
        raise Unmeasured("invalid resource metric source: neither a utilization target nor a value target was set")
    return by_utilisation(readings, target.average_utilization, container)
