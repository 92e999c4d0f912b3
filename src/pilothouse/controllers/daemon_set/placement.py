"""On which nodes a DaemonSet's pods belong, and how a pod is tied to its node. Pure.

The scheduler binds the pods; a required node affinity on the field `metadata.name` leaves it one choice.
"""

from __future__ import annotations

from typing import NamedTuple

import msgspec

from pilothouse.kinds.apps.daemon_set import DaemonSet
from pilothouse.kinds.core.node import Node
from pilothouse.kinds.core.pod import Pod, PodSpec
from pilothouse.machinery.objects import Obj
from pilothouse.reconcile.node_selectors import selects
from pilothouse.reconcile.taints import untolerated

_NAME = "metadata.name"
_TAINTS = (
    ("not-ready", "NoExecute"),
    ("unreachable", "NoExecute"),
    ("disk-pressure", "NoSchedule"),
    ("memory-pressure", "NoSchedule"),
    ("pid-pressure", "NoSchedule"),
    ("unschedulable", "NoSchedule"),
)
_HOST_NETWORK_TAINT = ("network-unavailable", "NoSchedule")


class Eligible(NamedTuple):
    """`run`: a pod is to be made there. `stay`: one that is there already may go on."""

    run: bool
    stay: bool


def pod_spec(template: Obj) -> Obj:
    """The template's pod spec with the tolerations that every daemon has (as upstream)."""
    spec: Obj = template.get("spec") or {}
    taints = (*_TAINTS, _HOST_NETWORK_TAINT) if spec.get("hostNetwork") else _TAINTS
    added = [{"key": f"node.kubernetes.io/{name}", "operator": "Exists", "effect": effect} for name, effect in taints]
    given = [toleration for toleration in spec.get("tolerations") or () if toleration not in added]
    return {**spec, "tolerations": [*given, *added]}


def on_node(spec: Obj, node: str) -> Obj:
    """The pod spec tied to a node: its required node affinity is replaced, the rest of the affinity stays."""
    term = {"matchFields": [{"key": _NAME, "operator": "In", "values": [node]}]}
    affinity = spec.get("affinity") or {}
    required = {"requiredDuringSchedulingIgnoredDuringExecution": {"nodeSelectorTerms": [term]}}
    node_affinity = {**(affinity.get("nodeAffinity") or {}), **required}
    return {**spec, "affinity": {**affinity, "nodeAffinity": node_affinity}}


def node_of(pod: Pod) -> str:
    """The node the pod is bound or tied to; "" when it is neither."""
    if pod.spec.node_name:
        return pod.spec.node_name
    affinity = pod.spec.affinity.node_affinity if pod.spec.affinity is not None else None
    required = affinity.required_during_scheduling_ignored_during_execution if affinity is not None else None
    for term in required.node_selector_terms if required is not None else ():
        for field in term.match_fields:
            if field.key == _NAME and field.operator == "In" and len(field.values) == 1:
                return field.values[0]
    return ""


class Placement:
    """Judges nodes by the template of one DaemonSet."""

    def __init__(self, daemon_set: DaemonSet) -> None:
        self._spec: PodSpec = msgspec.convert(pod_spec(daemon_set.spec.template), PodSpec)

    def judge(self, node: Node) -> Eligible:
        spec = self._spec
        if spec.node_name and spec.node_name != node.name:
            return Eligible(False, False)
        if not spec.node_selector.items() <= node.metadata.labels.items():
            return Eligible(False, False)
        affinity = spec.affinity.node_affinity if spec.affinity is not None else None
        required = affinity.required_during_scheduling_ignored_during_execution if affinity is not None else None
        if required is not None and not selects(required, node):
            return Eligible(False, False)
        taints = node.spec.taints
        return Eligible(
            untolerated(taints, spec.tolerations, "NoSchedule", "NoExecute") is None,
            untolerated(taints, spec.tolerations, "NoExecute") is None,
        )
