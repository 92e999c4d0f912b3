"""What has happened on this node since its process began, and how its pods are, as Prometheus' text. Pure.

Names and labels are the kubelet's.
"""

from __future__ import annotations

import os
import resource
from collections import Counter
from collections.abc import Iterable, Mapping
from pathlib import Path

from pilothouse.node.counts import Counts
from pilothouse.node.state import PodState

_PHASES = ("created", "exited", "running")


def node_metrics(node: str, counts: Counts, pods: Iterable[PodState]) -> str:
    """`/metrics`."""
    states = list(pods)
    phases = Counter(run.phase.value for state in states for run in state.containers.values())
    running = sum(state.sandbox is not None and state.sandbox.ready for state in states)
    used = resource.getrusage(resource.RUSAGE_SELF)
    lines = [
        *_metric("kubelet_node_name", "gauge", "The node's name. The count is always 1.", {f'node="{node}"': 1}),
        *_metric("kubelet_running_pods", "gauge", "Number of pods that have a running pod sandbox", {"": running}),
        *_metric(
            "kubelet_running_containers",
            "gauge",
            "Number of containers currently running",
            {f'container_state="{phase}"': phases[phase] for phase in _PHASES},
        ),
        *_metric(
            "kubelet_started_pods_total", "counter", "Cumulative number of pods started", {"": counts.started_pods}
        ),
        *_metric(
            "kubelet_started_containers_total",
            "counter",
            "Cumulative number of containers started",
            {'container_type="container"': counts.started_containers},
        ),
        *_metric(
            "kubelet_started_containers_errors_total",
            "counter",
            "Cumulative number of errors when starting containers",
            {'container_type="container"': counts.failed_containers},
        ),
        *_metric(
            "kubelet_evictions",
            "counter",
            "Cumulative number of pod evictions by eviction signal",
            {f'eviction_signal="{signal}"': number for signal, number in sorted(counts.evictions.items())},
        ),
        *_metric(
            "process_cpu_seconds_total",
            "counter",
            "Total user and system CPU time spent in seconds.",
            {"": round(used.ru_utime + used.ru_stime, 2)},
        ),
        *_metric("process_resident_memory_bytes", "gauge", "Resident memory size in bytes.", {"": _resident()}),
        *_metric(
            "process_open_fds", "gauge", "Number of open file descriptors.", {"": len(os.listdir("/proc/self/fd"))}
        ),
    ]
    return "\n".join(lines) + "\n"


def probe_metrics(counts: Counts) -> str:
    """`/metrics/probes`."""
    samples = {
        f'container="{container}",namespace="{namespace}",pod="{pod}",pod_uid="{uid}",'
        f'probe_type="{kind.capitalize()}",result="{result}"': number
        for (kind, result, namespace, pod, uid, container), number in counts.probes.items()
    }
    what = "Cumulative number of a liveness, readiness or startup probe for a container by result."
    return "\n".join(_metric("prober_probe_total", "counter", what, samples)) + "\n"


def _metric(name: str, kind: str, what: str, samples: Mapping[str, float]) -> list[str]:
    lines = [f"# HELP {name} {what}", f"# TYPE {name} {kind}"]
    return lines + [f"{name}{{{labels}}} {value}" if labels else f"{name} {value}" for labels, value in samples.items()]


def _resident() -> int:
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")
