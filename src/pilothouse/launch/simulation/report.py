"""What came of a simulation: where pods went, how full nodes are, what did not fit and why. Pure."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence

import msgspec

from pilothouse.kinds.core.pod import Pod
from pilothouse.launch.simulation.nodes import VirtualNode
from pilothouse.scheduler.pod_info import amounts, requests_of


class TypeReport(msgspec.Struct, rename="camel"):
    """One type of node; shares are of what is allocatable, 0 to 1."""

    name: str
    nodes: int
    used: int
    """Nodes with a pod of a workload on them."""
    pods: int
    cpu: float
    memory: float
    fullest_cpu: float
    emptiest_cpu: float
    cost: float
    """An hour of all of them, and of those used alone."""
    cost_used: float


class Unplaced(msgspec.Struct, rename="camel"):
    """Pods of one owner for which there was no node."""

    owner: str
    pods: int
    reason: str


class Report(msgspec.Struct, rename="camel", kw_only=True):
    seconds: float
    """From the first manifest applied to the end of the simulation."""
    placed: int
    running: int
    placed_per_second: float
    types: list[TypeReport]
    unplaced: list[Unplaced]
    workloads: list[dict[str, object]]
    refused: list[str]
    """Manifests that the API refused, and why."""


def by_type(nodes: Sequence[VirtualNode], pods: Iterable[Pod]) -> list[TypeReport]:
    """How full each type of node is."""
    on: dict[str, list[Pod]] = defaultdict(list)
    for pod in pods:
        if pod.spec.node_name and pod.status.phase not in ("Succeeded", "Failed"):
            on[pod.spec.node_name].append(pod)
    groups: dict[str, list[VirtualNode]] = defaultdict(list)
    for node in nodes:
        groups[node.type.name].append(node)
    return [_type(name, group, on) for name, group in groups.items()]


def _type(name: str, group: list[VirtualNode], on: dict[str, list[Pod]]) -> TypeReport:
    kind = group[0].type
    whole = amounts({"cpu": kind.cpu, "memory": kind.memory})
    cpu = [_share(on[node.name], "cpu", whole["cpu"]) for node in group]
    memory = [_share(on[node.name], "memory", whole["memory"]) for node in group]
    used = sum(bool(on[node.name]) for node in group)
    return TypeReport(
        name,
        len(group),
        used,
        sum(len(on[node.name]) for node in group),
        sum(cpu) / len(group),
        sum(memory) / len(group),
        max(cpu),
        min(cpu),
        kind.price * len(group),
        kind.price * used,
    )


def _share(pods: list[Pod], resource: str, whole: int) -> float:
    return sum(requests_of(pod).get(resource, 0) for pod in pods) / whole if whole else 0.0


def unplaced(pods: Iterable[Pod]) -> list[Unplaced]:
    """Pods that wait for a node, counted by owner and by what the scheduler says of them; most first."""
    counts: Counter[tuple[str, str]] = Counter()
    for pod in pods:
        if pod.spec.node_name or pod.status.phase in ("Succeeded", "Failed"):
            continue
        owner = pod.controller()
        name = f"{owner.kind.lower()}/{owner.name}" if owner is not None else f"pod/{pod.name}"
        told = next((c.message for c in pod.status.conditions if c.type == "PodScheduled" and c.status == "False"), "")
        counts[f"{name} in {pod.namespace}", told or "not looked at yet"] += 1
    return [Unplaced(owner, count, reason) for (owner, reason), count in counts.most_common()]
