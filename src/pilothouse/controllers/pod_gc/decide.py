"""Which pods to delete by force. Pure."""

from __future__ import annotations

import datetime as dt
from collections.abc import Collection, Iterable

from pilothouse.controllers.conditions import conditions_tree, is_true, with_condition
from pilothouse.controllers.pods import is_terminal, is_terminating
from pilothouse.kinds.core.node import Node
from pilothouse.kinds.core.pod import Pod
from pilothouse.kinds.view import Condition
from pilothouse.machinery.objects import Obj

OUT_OF_SERVICE = "node.kubernetes.io/out-of-service"
NODE_GONE = Condition(
    type="DisruptionTarget", status="True", reason="DeletionByPodGC", message="PodGC: node no longer exists"
)
TERMINATED_THRESHOLD = 12_500
"""Ended pods kept at most, as upstream."""


def orphaned(pods: Iterable[Pod], nodes: Collection[str]) -> list[Pod]:
    """Pods bound to a node that does not exist: no node process will ever confirm their end."""
    return [pod for pod in pods if pod.spec.node_name and pod.spec.node_name not in nodes]


def unscheduled_terminating(pods: Iterable[Pod]) -> list[Pod]:
    """Pods deleted before a node was found for them."""
    return [pod for pod in pods if pod.metadata.deletion_timestamp is not None and not pod.spec.node_name]


def is_out_of_service(node: Node) -> bool:
    """Whether a person has said of a node that does not answer that it is shut down, so that its pods have ended.

    Source: Kubernetes documentation, "Non-graceful node shutdown handling".
    """
    return not is_true(node.status.conditions, "Ready") and any(t.key == OUT_OF_SERVICE for t in node.spec.taints)


def stranded(pods: Iterable[Pod], node: Node | None) -> list[Pod]:
    """Pods being deleted on a node that is out of service, which will not confirm their end."""
    if node is None or not is_out_of_service(node):
        return []
    return [pod for pod in pods if is_terminating(pod)]


def ending(pod: Pod, condition: Condition | None, now: dt.datetime) -> Obj:
    """The status (a strategic merge patch) of a pod whose end nobody else will tell; empty if it has ended."""
    if is_terminal(pod):
        return {}
    found = with_condition([], condition, now) if condition is not None else []
    return {"phase": "Failed", **({"conditions": conditions_tree(found)} if found else {})}


def surplus(pods: Iterable[Pod], threshold: int = TERMINATED_THRESHOLD) -> list[Pod]:
    """The oldest ended pods beyond the threshold."""
    ended = [pod for pod in pods if is_terminal(pod) and pod.metadata.deletion_timestamp is None]
    if len(ended) <= threshold:
        return []
    ended.sort(key=lambda pod: (pod.metadata.creation_timestamp or "", pod.key))
    return ended[: len(ended) - threshold]
