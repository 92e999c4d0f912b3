"""Resource figures: service classes, cgroup limits, OOM scores."""

from __future__ import annotations

from typing import Any

import pytest

from pilothouse.kinds.core.pod import Pod
from pilothouse.kinds.view import from_tree
from pilothouse.node.resources import (
    Limits,
    class_and_cpu,
    container_limits,
    oom_score_adj,
    pod_limits,
    pod_requests,
    qos_class,
    qos_shares,
)


def pod(*resources: dict[str, Any], init: tuple[dict[str, Any], ...] = (), **spec: Any) -> Pod:
    tree = {
        "metadata": {"uid": "u"},
        "spec": {
            "containers": [{"name": f"c{i}", "resources": r} for i, r in enumerate(resources)],
            "initContainers": [{"name": f"i{i}", **r} for i, r in enumerate(init)],
            **spec,
        },
    }
    result: Pod = from_tree(Pod, tree)
    return result


FULL = {"limits": {"cpu": "500m", "memory": "64Mi"}}
SOME = {"requests": {"cpu": "100m"}}


@pytest.mark.parametrize(
    ("resources", "qos"),
    [
        (({},), "BestEffort"),
        ((FULL,), "Guaranteed"),
        ((FULL, {}), "Burstable"),
        ((SOME,), "Burstable"),
        (({"limits": {"cpu": "1", "memory": "1Gi"}, "requests": {"cpu": "500m"}},), "Burstable"),
        (({"limits": {"cpu": "1", "memory": "1Gi"}, "requests": {"cpu": "1000m"}},), "Guaranteed"),
        (({"limits": {"cpu": "1"}},), "Burstable"),
    ],
)
def test_service_classes(resources: tuple[dict[str, Any], ...], qos: str) -> None:
    assert qos_class(pod(*resources)) == qos


def test_container_limits() -> None:
    assert container_limits(pod(FULL).spec.containers[0]) == Limits(512, 50_000, 64 << 20)
    assert container_limits(pod({}).spec.containers[0]) == Limits(2, 0, 0)
    tiny = pod({"limits": {"cpu": "1m"}}).spec.containers[0]
    assert container_limits(tiny) == Limits(2, 1000, 0)


def test_a_pod_is_limited_only_where_all_its_containers_are() -> None:
    assert pod_limits(pod(FULL, FULL)) == Limits(1024, 100_000, 128 << 20)
    assert pod_limits(pod(FULL, SOME)) == Limits(614, 0, 0)


def test_requests_are_the_larger_of_start_and_run() -> None:
    sidecar = {"restartPolicy": "Always", "resources": {"requests": {"cpu": "1"}}}
    first = {"resources": {"requests": {"cpu": "3"}}}
    assert pod_requests(pod(SOME, init=(sidecar, first)))["cpu"] == 4
    assert pod_requests(pod(SOME, init=(first, sidecar)))["cpu"] == 3
    assert float(pod_requests(pod(SOME, overhead={"cpu": "250m"}))["cpu"]) == 0.35


def test_oom_scores() -> None:
    def score(made: Pod) -> int:
        return oom_score_adj(made, made.spec.containers[0], 1 << 30)

    assert score(pod({})) == 1000
    assert score(pod(FULL)) == -997
    assert score(pod({"requests": {"memory": "512Mi"}})) == 500
    assert score(pod(SOME)) == 999
    assert score(pod({}, priority=2_000_000_000)) == -997


def test_classes_share_the_cpu_by_what_their_pods_ask_for() -> None:
    def asking(cpu: str, memory: str = "1Gi", **sides: dict[str, str]) -> Pod:
        made = {"requests": {"cpu": cpu, "memory": memory}, **sides}
        tree = {"spec": {"containers": [{"name": "c", "image": "i", "resources": made}]}}
        result: Pod = from_tree(Pod, tree)
        return result

    burstable, more = asking("250m"), asking("750m")
    guaranteed = asking("2", limits={"cpu": "2", "memory": "1Gi"})
    best_effort: Pod = from_tree(Pod, {"spec": {"containers": [{"name": "c", "image": "i"}]}})
    shares = qos_shares(map(class_and_cpu, (burstable, more, guaranteed, best_effort)))
    assert shares == {"guaranteed": 2048, "burstable": 1024, "besteffort": 2}
    assert qos_shares([]) == {"guaranteed": 2, "burstable": 2, "besteffort": 2}
