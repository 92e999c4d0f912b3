"""Autoscalers: what load makes of sizes, how fast, and what is said about it."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest
from autoscaling_world import World, cpu, pod, usage

from pilothouse.controllers.scaling import Scale
from pilothouse.machinery.objects import Obj


@pytest.mark.parametrize(
    ("replicas", "load", "target", "after"),
    [
        (3, 750, 50, 5),  # 75 % of a core each: 225 % in all, 50 % each
        (3, 500, 50, 3),
        (3, 545, 50, 3),  # within the tolerance of a tenth
        (3, 560, 50, 4),
        (1, 3000, 50, 4),  # 6 are wanted: four at once
        (10, 1000, 10, 20),  # at most twice as many
    ],
)
def test_more_load_means_more_replicas(replicas: int, load: int, target: int, after: int) -> None:
    world = World(replicas, lambda _: load, metrics=[cpu(target)])
    world.step()
    assert world.replicas == after
    assert world.says("ScalingActive") == ("True", "ValidMetricFound")
    assert world.autoscaler.status.current_metrics[0]["resource"]["current"]["averageUtilization"] == load // 10


def test_a_rescale_is_told() -> None:
    world = World(3, lambda n: 2250 // n, metrics=[cpu(50)])
    world.step()
    assert world.says("AbleToScale") == ("True", "SucceededRescale")
    assert world.message("AbleToScale") == "the HPA controller was able to update the target scale to 5"
    (note,) = world.notes
    assert note == (
        "Normal",
        "SuccessfulRescale",
        "New size: 5; reason: cpu resource utilization (percentage of request) above target",
    )
    assert world.autoscaler.status.desired_replicas == 5
    assert world.autoscaler.status.last_scale_time == "2026-01-01T12:00:00Z"
    world.step()
    assert world.says("AbleToScale") == ("True", "ReadyForNewScale")
    assert world.says("ScalingLimited") == ("False", "DesiredWithinRange")


def test_less_load_counts_after_five_minutes() -> None:
    world = World(10, lambda _: 100, metrics=[cpu(50)])
    world.run(300)
    assert world.replicas == 10
    assert world.says("AbleToScale") == ("True", "ScaleDownStabilized")
    world.run(30)
    assert world.replicas == 2
    assert [n.message for n in world.notes] == ["New size: 2; reason: All metrics below target"]


def test_bounds_limit_and_say_so() -> None:
    world = World(3, lambda _: 5000, metrics=[cpu(50)], maxReplicas=4)
    world.step()
    assert world.replicas == 4
    assert world.says("ScalingLimited") == ("True", "TooManyReplicas")
    low = World(3, lambda _: 0, metrics=[cpu(50)], minReplicas=2)
    low.run(600)
    assert low.replicas == 2
    assert low.says("ScalingLimited") == ("True", "TooFewReplicas")


def test_a_size_outside_the_bounds_is_brought_within_at_once() -> None:
    world = World(1, lambda _: 500, metrics=[cpu(50)], minReplicas=3)
    world.step(metrics="no metrics API")
    assert world.replicas == 3
    assert world.notes[0].message == "New size: 3; reason: Current number of replicas below Spec.MinReplicas"
    above = World(9, lambda _: 500, metrics=[cpu(50)], maxReplicas=5)
    above.step()
    assert above.replicas == 5


def test_a_target_of_zero_is_left_alone() -> None:
    world = World(0, lambda _: 0, metrics=[cpu(50)])
    world.step()
    assert world.replicas == 0
    assert world.says("ScalingActive") == ("False", "ScalingDisabled")


def test_metrics_that_cannot_be_had_stop_scaling_and_are_named() -> None:
    world = World(3, lambda _: 0, metrics=[cpu(50)])
    world.step(metrics=[])
    assert world.replicas == 3
    assert world.says("ScalingActive") == ("False", "FailedGetResourceMetric")
    assert world.message("ScalingActive") == (
        "the HPA was unable to compute the replica count: failed to get cpu utilization: unable to get metrics for"
        " resource cpu: no metrics returned from resource metrics API"
    )
    assert [n.reason for n in world.notes] == ["FailedGetResourceMetric", "FailedComputeMetricsReplicas"]
    assert world.notes[1].message.startswith(
        "invalid metrics (1 invalid out of 1), first error is: failed to get cpu resource metric value: failed to get"
    )


def test_a_pod_without_a_request_is_named() -> None:
    world = World(1, lambda _: 100, metrics=[cpu(50)])
    bare = msgspec.convert({"metadata": {"name": "p0"}, "spec": {"containers": [{"name": "main"}]}}, type(pod("p0")))
    bare.status = pod("p0").status
    world.step(pods=[bare], metrics=[usage("p0", 100)])
    assert "missing request for cpu in container main of Pod p0" in world.message("ScalingActive")


def test_the_metric_that_wants_most_wins_and_a_failing_one_forbids_scaling_down() -> None:
    memory = {
        "type": "Resource",
        "resource": {"name": "memory", "target": {"type": "AverageValue", "averageValue": "25Mi"}},
    }
    world = World(2, lambda _: 100, metrics=[cpu(50), memory])
    world.step()
    assert world.replicas == 4
    assert "memory resource above target" in world.notes[-1].message
    gpu = {"type": "Resource", "resource": {"name": "gpu", "target": {"type": "Utilization", "averageUtilization": 50}}}
    failing = World(4, lambda _: 100, metrics=[cpu(50), gpu])
    failing.run(600)
    assert failing.replicas == 4
    assert failing.says("ScalingActive") == ("False", "FailedGetResourceMetric")


def test_one_containers_use() -> None:
    source = {"name": "cpu", "container": "main", "target": {"type": "Utilization", "averageUtilization": 50}}
    world = World(2, lambda _: 0, metrics=[{"type": "ContainerResource", "containerResource": source}])
    pods = [pod("p0"), pod("p1")]
    world.step(pods=pods, metrics=[usage(p.name, 0, main=1000, sidecar=9000) for p in pods])
    assert world.replicas == 4
    assert "cpu container resource utilization (percentage of request) above target" in world.notes[-1].message
    world.step(pods=pods, metrics=[usage("p0", 0, other=1), usage("p1", 0, other=1)])
    assert "container main not present in metrics for pod shop/p0" in world.message("ScalingActive")


def starting(name: str, ready: str, since: str) -> Any:
    condition = {"type": "Ready", "status": ready, "lastTransitionTime": since}
    return pod(name, startTime="2026-01-01T11:59:00Z", conditions=[condition])


def test_starting_pods_and_missing_metrics_damp_the_change() -> None:
    # Two of four use all of their CPU: twice the target. The other two count as idle, so four are enough.
    pods = [
        pod("a"),
        pod("b"),
        starting("c", "False", "2026-01-01T11:59:00Z"),
        starting("d", "True", "2026-01-01T11:59:55Z"),
    ]
    world = World(4, lambda _: 0, metrics=[cpu(50)])
    world.step(pods=pods, metrics=[usage(p.name, 1000) for p in pods])
    assert world.replicas == 4
    # Of four pods two are measured and idle: the others count as using all they ask for.
    idle = World(4, lambda _: 0, metrics=[cpu(50)], behavior={"scaleDown": {"stabilizationWindowSeconds": 0}})
    idle.step(pods=[pod(n) for n in "abcd"], metrics=[usage("a", 0), usage("b", 0)])
    assert idle.replicas == 4
    pending = World(2, lambda _: 0, metrics=[cpu(50)])
    pending.step(pods=[pod("a", phase="Pending")], metrics=[usage("a", 5)])
    assert "did not receive metrics for any ready pods" in pending.message("ScalingActive")


def test_policies_bound_what_is_changed_in_a_period() -> None:
    behavior = {
        "scaleUp": {"policies": [{"type": "Pods", "value": 2, "periodSeconds": 60}]},
        "scaleDown": {
            "stabilizationWindowSeconds": 0,
            "policies": [
                {"type": "Percent", "value": 50, "periodSeconds": 60},
                {"type": "Pods", "value": 1, "periodSeconds": 60},
            ],
            "selectPolicy": "Min",
        },
    }
    world = World(3, lambda _: 5000, metrics=[cpu(50)], behavior=behavior)
    world.run(60)
    assert world.sizes == [3, 5, 5, 5, 5]
    assert world.says("ScalingLimited") == ("True", "ScaleUpLimit")
    world.run(60)
    assert world.replicas == 7
    world.load = lambda _: 0
    world.run(60)
    assert world.replicas == 6
    assert world.says("ScalingLimited") == ("True", "ScaleDownLimit")


def test_scaling_up_waits_for_its_window_and_may_be_disabled() -> None:
    slow = World(2, lambda _: 5000, metrics=[cpu(50)], behavior={"scaleUp": {"stabilizationWindowSeconds": 60}})
    slow.run(60)
    assert slow.replicas == 2
    assert slow.says("AbleToScale") == ("True", "ScaleUpStabilized")
    slow.run(30)
    assert slow.replicas > 2
    off = World(9, lambda _: 0, metrics=[cpu(50)], behavior={"scaleDown": {"selectPolicy": "Disabled"}})
    off.run(900)
    assert off.replicas == 9


def test_the_tolerance_can_be_set() -> None:
    wide = World(4, lambda _: 700, metrics=[cpu(50)], behavior={"scaleUp": {"tolerance": "500m"}})
    wide.step()
    assert wide.replicas == 4
    narrow = World(4, lambda _: 510, metrics=[cpu(50)], behavior={"scaleUp": {"tolerance": "0"}})
    narrow.step()
    assert narrow.replicas == 5


@pytest.mark.parametrize(
    ("answer", "type", "reason"),
    [
        ({"scale": 'deployments.apps "web" not found'}, "AbleToScale", "FailedGetScale"),
        ({"scale": Scale("u", "1", 3, 3, "")}, "ScalingActive", "InvalidSelector"),
        ({"scale": Scale("u", "1", 3, 3, "a in (")}, "ScalingActive", "InvalidSelector"),
        ({"rivals": ("shop/other", "shop/web")}, "ScalingActive", "AmbiguousSelector"),
    ],
)
def test_what_cannot_be_scaled_is_named(answer: Obj, type: str, reason: str) -> None:
    world = World(3, lambda _: 5000, metrics=[cpu(50)], maxReplicas=2)
    world.step(**answer)
    assert world.replicas == 3
    assert world.says(type) == ("False", reason)
    assert world.notes
    if reason == "AmbiguousSelector":
        assert world.message(type) == "pods by selector app=web are controlled by multiple HPAs: [shop/other shop/web]"


def test_a_refused_rescale_is_told_and_not_remembered() -> None:
    world = World(3, lambda _: 5000, metrics=[cpu(50)], behavior={"scaleUp": {}})
    world.step(error="forbidden")
    assert world.says("AbleToScale") == ("False", "FailedUpdateScale")
    assert world.notes[-1].reason == "FailedRescale"
    assert not world.history.ups
