"""Simulations: settings that are wrong are told by field; pods on virtual nodes start, run and end; the report."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from pilothouse.kinds.core.pod import Pod
from pilothouse.launch.simulation.lives import RUNS_FOR, Ended, Gone, Running, next_of
from pilothouse.launch.simulation.nodes import made_of
from pilothouse.launch.simulation.report import by_type, unplaced
from pilothouse.launch.simulation.setting import InvalidSetting, NodeType, node_types

HEAD = {"apiVersion": "simulation.pilothouse.dev/v1", "kind": "Simulation", "metadata": {"name": "s"}}
SMALL = {"name": "small", "count": 3, "cpu": "4", "memory": "8Gi"}


def pod(name: str = "p", *, phase: str = "Pending", node: str = "", **more: Any) -> Pod:
    spec = {
        "containers": [{"name": "c", "image": "i", "resources": {"requests": {"cpu": "1", "memory": "2Gi"}}}],
        "restartPolicy": more.pop("restart", "Always"),
        "nodeName": node,
    }
    metadata = {"name": name, "namespace": "ns", **more.pop("metadata", {})}
    return msgspec.convert({"metadata": metadata, "spec": spec, "status": {"phase": phase, **more}}, Pod)


@pytest.mark.parametrize(
    ("nodes", "said"),
    [
        ([{**SMALL, "cpus": "4"}], r"unknown field `cpus` - at `\$.nodes\[0\]`"),
        ([{**SMALL, "count": 0}], r"nodes\[0\].count is 0"),
        ([{**SMALL, "memory": "8 GB"}], r"nodes\[0\]: .*8 GB"),
        ([SMALL, SMALL], "a name of its own"),
        ([], "at least one type"),
    ],
)
def test_a_setting_that_is_wrong_is_told_by_field(nodes: list[Any], said: str) -> None:
    with pytest.raises(InvalidSetting, match=said):
        node_types({**HEAD, "nodes": nodes})


def test_another_version_is_refused() -> None:
    with pytest.raises(InvalidSetting, match=r"write simulation\.pilothouse\.dev/v1"):
        node_types({**HEAD, "apiVersion": "simulation.pilothouse.dev/v9", "nodes": [SMALL]})


def test_nodes_are_spread_over_zones() -> None:
    nodes = made_of(node_types({**HEAD, "nodes": [{**SMALL, "zones": ["a", "b"], "labels": {"disk": "ssd"}}]}))
    assert [node.name for node in nodes] == ["small-0", "small-1", "small-2"]
    assert [node.tree["metadata"]["labels"]["topology.kubernetes.io/zone"] for node in nodes] == ["a", "b", "a"]
    assert {node.tree["metadata"]["labels"]["disk"] for node in nodes} == {"ssd"}


def address() -> str:
    return "10.128.0.1"


def test_a_pod_starts_after_a_moment_and_goes_on() -> None:
    wait = next_of(pod(), 0.05, address)
    assert isinstance(wait, float)
    assert 0 < wait < 1
    step = next_of(pod(), 5.0, address)
    assert isinstance(step, Running)
    assert step.status["podIP"] == "10.128.0.1"
    assert next_of(pod(phase="Running"), 1e6, address) is None


def test_a_pod_of_a_job_ends() -> None:
    step = next_of(pod(phase="Running", restart="Never"), 60.0, address)
    assert isinstance(step, Ended)
    assert step.status["phase"] == "Succeeded"
    long = pod(phase="Running", restart="Never", metadata={"annotations": {RUNS_FOR: "100"}})
    wait = next_of(long, 60.0, address)
    assert isinstance(wait, float)
    assert wait == pytest.approx(40.2)
    assert next_of(pod(phase="Succeeded", restart="Never"), 60.0, address) is None


def test_a_pod_that_is_to_go_goes() -> None:
    leaving = pod(phase="Running", metadata={"deletionTimestamp": "2026-01-01T00:00:00Z"})
    assert isinstance(next_of(leaving, 0.0, address), Gone)


def test_what_came_of_it() -> None:
    nodes = made_of([NodeType("small", 2, "4", "8Gi", price=0.5), NodeType("idle", 1, "4", "8Gi")])
    pods = [
        pod("a", phase="Running", node="small-0"),
        pod("b", phase="Running", node="small-0"),
        pod("done", phase="Succeeded", node="small-1"),
        pod("c", conditions=[{"type": "PodScheduled", "status": "False", "message": "0/3 nodes are available"}]),
        pod("d"),
    ]
    small, idle = by_type(nodes, pods)
    assert (small.nodes, small.used, small.pods, small.cpu, small.memory) == (2, 1, 2, 0.25, 0.25)
    assert (small.fullest_cpu, small.emptiest_cpu, small.cost, small.cost_used) == (0.5, 0.0, 1.0, 0.5)
    assert (idle.used, idle.cpu) == (0, 0.0)
    assert [(entry.owner, entry.pods, entry.reason) for entry in unplaced(pods)] == [
        ("pod/c in ns", 1, "0/3 nodes are available"),
        ("pod/d in ns", 1, "not looked at yet"),
    ]
