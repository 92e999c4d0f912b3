"""Resources of a pod as a whole: defaults, rules, service class, and the groups that hold it."""

from __future__ import annotations

from typing import Any

import pytest

from pilothouse.kinds.core.pod import Pod
from pilothouse.kinds.core.pod_defaults import default_pod
from pilothouse.kinds.core.pod_qos import qos_class
from pilothouse.kinds.core.pod_resources import check_pod_resources
from pilothouse.kinds.problems import Problems
from pilothouse.kinds.view import from_tree
from pilothouse.node import resources as node


def spec(whole: dict[str, Any], *containers: dict[str, Any]) -> dict[str, Any]:
    made = [{"name": f"c{n}", "image": "i", "resources": given} for n, given in enumerate(containers or ({},))]
    return {"containers": made, "resources": whole}


def test_a_request_left_out() -> None:
    some = {
        "spec": spec(
            {"limits": {"cpu": "2", "memory": "1Gi"}}, {"requests": {"cpu": "250m"}}, {"requests": {"cpu": "0.5"}}
        )
    }
    default_pod(some)
    assert some["spec"]["resources"]["requests"] == {"cpu": "750m", "memory": "1Gi"}


@pytest.mark.parametrize(
    ("tree", "message"),
    [
        (spec({"limits": {"cpu": "1"}, "requests": {"cpu": "500m"}}), ""),
        (spec({"limits": {"ephemeral-storage": "1Gi"}}), "Unsupported value"),
        (
            spec({"requests": {"cpu": "500m"}}, {"requests": {"cpu": "300m"}}, {"requests": {"cpu": "300m"}}),
            "must be greater than or equal to aggregate container requests of 600m",
        ),
        (
            spec({"limits": {"memory": "1Gi"}}, {"limits": {"memory": "2Gi"}}),
            "must be less than or equal to pod limits of 1Gi",
        ),
        (spec({"limits": {"cpu": "1"}, "requests": {"cpu": "2"}}), "must be less than or equal to cpu limit of 1"),
    ],
)
def test_what_is_wrong_is_named(tree: dict[str, Any], message: str) -> None:
    problems = Problems()
    check_pod_resources(tree, "spec", problems)
    assert bool(problems) == bool(message)
    assert message in "".join(cause.message for cause in problems)


def test_they_decide_alone() -> None:
    """The service class, what is asked of a node, and the limits of the pod's group."""
    tree = {
        "spec": spec(
            {"limits": {"cpu": "1", "memory": "1Gi"}}, {}, {"requests": {"cpu": "100m"}, "limits": {"cpu": "200m"}}
        )
    }
    tree["spec"]["resources"]["requests"] = dict(tree["spec"]["resources"]["limits"])
    default_pod(tree)
    assert qos_class(tree["spec"]) == "Guaranteed"
    pod: Pod = from_tree(Pod, tree)
    assert node.qos_class(pod) == "Guaranteed"
    assert node.pod_requests(pod)["cpu"] == 1
    assert node.pod_limits(pod) == node.Limits(1024, 100_000, 1 << 30)
