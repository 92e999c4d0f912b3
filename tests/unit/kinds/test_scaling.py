"""PodDisruptionBudget and HorizontalPodAutoscaler: defaults, and what is refused in upstream's words."""

from __future__ import annotations

from typing import Any

import pytest

from pilothouse.kinds.autoscaling.horizontal_pod_autoscaler import KIND as AUTOSCALER
from pilothouse.kinds.kind import Kind
from pilothouse.kinds.policy.pod_disruption_budget import KIND as BUDGET
from pilothouse.machinery.objects import Obj

META = {"name": "web", "namespace": "shop"}


def problems(kind: Kind, spec: Obj, old: Obj | None = None) -> list[str]:
    tree: Obj = {"metadata": META, "spec": spec}
    kind.default(tree)
    return [f"{cause.field}: {cause.message}" for cause in kind.validate(tree, old)]


def autoscaler(**spec: Any) -> Obj:
    target = {"apiVersion": "apps/v1", "kind": "Deployment", "name": "web"}
    return {"scaleTargetRef": target, "maxReplicas": 3, **spec}


def resource(**target: Any) -> list[Obj]:
    return [{"type": "Resource", "resource": {"name": "cpu", "target": {"type": "Utilization", **target}}}]


@pytest.mark.parametrize(
    ("spec", "said"),
    [
        ({"minAvailable": 1}, []),
        ({"maxUnavailable": "30%", "selector": {"matchLabels": {"a": "b"}}}, []),
        (
            {"minAvailable": 1, "maxUnavailable": 1},
            [
                'spec: Invalid value: {"maxUnavailable":1,"minAvailable":1}:'
                " minAvailable and maxUnavailable cannot be both set"
            ],
        ),
        (
            {"minAvailable": -1},
            ["spec.minAvailable: Invalid value: -1: must be greater than or equal to 0"],
        ),
        (
            {"maxUnavailable": "120%"},
            ['spec.maxUnavailable: Invalid value: "120%": must not be greater than 100%'],
        ),
        (
            {"unhealthyPodEvictionPolicy": "Never"},
            [
                'spec.unhealthyPodEvictionPolicy: Unsupported value: "Never":'
                ' supported values: "AlwaysAllow", "IfHealthyBudget"'
            ],
        ),
    ],
)
def test_budgets(spec: Obj, said: list[str]) -> None:
    assert problems(BUDGET, spec) == said


def test_a_budgets_percentage_is_one() -> None:
    (said,) = problems(BUDGET, {"minAvailable": "half"})
    assert said.startswith('spec.minAvailable: Invalid value: "half": a valid percent string must be')


def test_an_autoscalers_defaults() -> None:
    tree: Obj = {"metadata": META, "spec": autoscaler(behavior={"scaleDown": {"stabilizationWindowSeconds": 60}})}
    AUTOSCALER.default(tree)
    assert tree["spec"]["minReplicas"] == 1
    assert tree["spec"]["metrics"] == resource(averageUtilization=80)
    percent = {"type": "Percent", "value": 100, "periodSeconds": 15}
    assert tree["spec"]["behavior"] == {
        "scaleUp": {
            "stabilizationWindowSeconds": 0,
            "selectPolicy": "Max",
            "policies": [{"type": "Pods", "value": 4, "periodSeconds": 15}, percent],
        },
        "scaleDown": {"stabilizationWindowSeconds": 60, "selectPolicy": "Max", "policies": [percent]},
    }


_TARGET = "spec.metrics[0].resource.target"
_UP = "spec.behavior.scaleUp"


@pytest.mark.parametrize(
    ("spec", "said"),
    [
        ({}, []),
        ({"metrics": resource(averageUtilization=50)}, []),
        (
            {"maxReplicas": 0},
            [
                "spec.maxReplicas: Invalid value: 0: must be greater than 0",
                "spec.maxReplicas: Invalid value: 0: must be greater than or equal to `minReplicas`",
            ],
        ),
        (
            {"minReplicas": 5},
            ["spec.maxReplicas: Invalid value: 3: must be greater than or equal to `minReplicas`"],
        ),
        (
            {"minReplicas": 0},
            [
                "spec.metrics: Forbidden: must specify at least one Object or External metric to support scaling to"
                " zero replicas"
            ],
        ),
        ({"scaleTargetRef": {"apiVersion": "a/b", "name": "web"}}, ["spec.scaleTargetRef.kind: Required value"]),
        (
            {"scaleTargetRef": {"apiVersion": "a/b", "kind": "D", "name": "a/b"}},
            ["spec.scaleTargetRef.name: Invalid value: \"a/b\": may not contain '/'"],
        ),
        (
            {"scaleTargetRef": {"kind": "Deployment", "name": "web"}},
            ['spec.scaleTargetRef.apiVersion: Invalid value: "": apiVersion must specify API group'],
        ),
        ({"scaleTargetRef": {"apiVersion": "v1", "kind": "ReplicationController", "name": "web"}}, []),
        (
            {"metrics": resource()},
            [
                f"{_TARGET}.averageUtilization: Required value: must set either a target raw value or a target"
                " utilization"
            ],
        ),
        (
            {"metrics": resource(averageUtilization=50, averageValue="1")},
            [f"{_TARGET}.averageValue: Forbidden: may not set both a target raw value and a target utilization"],
        ),
        (
            {"metrics": resource(averageValue="0")},
            [f'{_TARGET}.averageValue: Invalid value: "0": must be positive'],
        ),
        (
            {"metrics": [{"type": "Pods"}]},
            ["spec.metrics[0].pods: Required value: must populate information for the given metric source"],
        ),
        (
            {"behavior": {"scaleUp": {"policies": []}}},
            [f"{_UP}.policies: Required value: must specify at least one Policy"],
        ),
        (
            {"behavior": {"scaleUp": {"stabilizationWindowSeconds": 4000}}},
            [f"{_UP}.stabilizationWindowSeconds: Invalid value: 4000: must be less than or equal to 3600"],
        ),
        (
            {"behavior": {"scaleUp": {"policies": [{"type": "Pods", "value": 0, "periodSeconds": 1801}]}}},
            [
                f"{_UP}.policies[0].value: Invalid value: 0: must be greater than zero",
                f"{_UP}.policies[0].periodSeconds: Invalid value: 1801: must be less than or equal to 1800",
            ],
        ),
        (
            {"behavior": {"scaleUp": {"tolerance": "-1"}}},
            [f'{_UP}.tolerance: Invalid value: "-1": must be greater than or equal to 0'],
        ),
    ],
)
def test_autoscalers(spec: Obj, said: list[str]) -> None:
    assert problems(AUTOSCALER, autoscaler(**spec)) == said
