"""On which nodes a pod can run, and why not on the others. Pure.

Names of filters and words of reasons are upstream's, so that events read as people know them.
"""

from __future__ import annotations

from collections.abc import Callable

from pilothouse.kinds.core.node import Taint
from pilothouse.reconcile.node_selectors import selects
from pilothouse.reconcile.taints import untolerated
from pilothouse.scheduler.pod_info import PodInfo
from pilothouse.scheduler.snapshot import NodeInfo

Filter = Callable[[PodInfo, NodeInfo], list[str]]
"""The reasons why not; none if the node will do. The node exists."""

_ANY_ADDRESS = "0.0.0.0"
_UNSCHEDULABLE = Taint(key="node.kubernetes.io/unschedulable", effect="NoSchedule")


def unschedulable(pod: PodInfo, info: NodeInfo) -> list[str]:
    assert info.node is not None
    if info.node.spec.unschedulable and untolerated([_UNSCHEDULABLE], pod.pod.spec.tolerations, "NoSchedule"):
        return ["node(s) were unschedulable"]
    return []


def taints(pod: PodInfo, info: NodeInfo) -> list[str]:
    assert info.node is not None
    taint = untolerated(info.node.spec.taints, pod.pod.spec.tolerations, "NoSchedule", "NoExecute")
    return [f"node(s) had untolerated taint {{{taint.key}: {taint.value}}}"] if taint is not None else []


def node_affinity(pod: PodInfo, info: NodeInfo) -> list[str]:
    """The node selector and the required node affinity; both must admit the node."""
    assert info.node is not None
    spec = pod.pod.spec
    fits = spec.node_selector.items() <= info.node.metadata.labels.items()
    affinity = spec.affinity.node_affinity if spec.affinity is not None else None
    required = affinity.required_during_scheduling_ignored_during_execution if affinity is not None else None
    if fits and (required is None or selects(required, info.node)):
        return []
    return ["node(s) didn't match Pod's node affinity/selector"]


def ports(pod: PodInfo, info: NodeInfo) -> list[str]:
    if not pod.ports:
        return []
    taken = [port for other in info.pods.values() for port in other.ports]
    for address, protocol, number in pod.ports:
        for other_address, other_protocol, other_number in taken:
            same = number == other_number and protocol == other_protocol
            if same and (address == other_address or _ANY_ADDRESS in (address, other_address)):
                return ["node(s) didn't have free ports for the requested pod ports"]
    return []


def fits(pod: PodInfo, info: NodeInfo) -> bool:
    """Whether `resources` has nothing to say."""
    free, taken = info.allocatable, info.requested
    return all(not wanted or wanted <= free.get(name, 0) - taken.get(name, 0) for name, wanted in pod.requests.items())


def resources(pod: PodInfo, info: NodeInfo) -> list[str]:
    """Requests against what is allocatable and not yet requested; every resource that is short is named."""
    reasons = []
    for resource, wanted in pod.requests.items():
        if wanted and wanted > info.allocatable.get(resource, 0) - info.requested.get(resource, 0):
            reasons.append("Too many pods" if resource == "pods" else f"Insufficient {resource}")
    return reasons


FILTERS: tuple[tuple[str, Filter], ...] = (
    ("NodeUnschedulable", unschedulable),
    ("TaintToleration", taints),
    ("NodeAffinity", node_affinity),
    ("NodePorts", ports),
    ("NodeResourcesFit", resources),
)
"""In order; the first that objects ends the check of a node."""
OF_THE_NODE = (unschedulable, taints, node_affinity)
"""Those that look at the node alone, whatever runs on it."""
