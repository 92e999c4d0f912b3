"""The node's own metrics in Prometheus' text, and the number of processes by either version of cgroups."""

from __future__ import annotations

from pathlib import Path

from pilothouse.node.api.description import configuration
from pilothouse.node.counts import Counts
from pilothouse.node.settings import Settings
from pilothouse.node.state import ContainerState, Phase, PodState, SandboxState
from pilothouse.node.stats.groups import GroupReader
from pilothouse.node.stats.node_metrics import node_metrics, probe_metrics


def test_what_runs_and_what_happened() -> None:
    state = PodState("u", "ns", "p", sandbox=SandboxState("s"))
    state.containers = {"a": ContainerState("a", "1", phase=Phase.RUNNING), "b": ContainerState("b", "2")}
    counts = Counts(started_pods=3, started_containers=5)
    counts.evictions["memory.available"] = 2
    text = node_metrics("n1", counts, [state])
    assert 'kubelet_node_name{node="n1"} 1' in text
    assert "kubelet_running_pods 1\n" in text
    assert 'kubelet_running_containers{container_state="running"} 1' in text
    assert 'kubelet_evictions{eviction_signal="memory.available"} 2' in text
    assert "process_open_fds " in text


def test_probes_are_counted_as_long_as_their_pod_is_there() -> None:
    counts = Counts()
    counts.probes[("readiness", "failed", "ns", "p", "u", "c")] += 2
    labels = 'container="c",namespace="ns",pod="p",pod_uid="u",probe_type="Readiness",result="failed"'
    assert f"prober_probe_total{{{labels}}} 2" in probe_metrics(counts)
    counts.forget("u")
    assert "failed" not in probe_metrics(counts)


def test_processes_of_a_group(tmp_path: Path) -> None:
    old, new = tmp_path / "v1", tmp_path / "v2"
    for group in (old / "pids" / "pods" / "x", new / "pods" / "x"):
        group.mkdir(parents=True)
        (group / "pids.current").write_text("7\n")
    (new / "cgroup.controllers").write_text("pids")
    for root in (old, new):
        reader = GroupReader(str(root))
        assert reader.processes("/pods/x") == 7
        assert reader.processes("/pods/gone") == 0


def test_the_configuration_in_upstreams_words() -> None:
    tree = configuration(
        Settings(eviction_soft_grace_period={"memory.available": 90.0}), address="a", port=1, domain="d"
    )
    shown = tree["kubeletconfig"]
    assert shown["evictionHard"]["nodefs.inodesFree"] == "5%"
    assert shown["evictionSoftGracePeriod"] == {"memory.available": "90s"}
    assert shown["imageGCHighThresholdPercent"] == 85
    assert shown["imageMinimumGCAge"] == "120s"
    assert shown["shutdownGracePeriod"] == "0s"
    assert "keptLogsSize" not in shown
