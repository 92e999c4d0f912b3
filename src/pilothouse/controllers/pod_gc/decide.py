"""Which pods to delete by force. Pure."""

from __future__ import annotations

from collections.abc import Collection, Iterable

from pilothouse.controllers.pods import is_terminal
from pilothouse.kinds.core.pod import Pod

TERMINATED_THRESHOLD = 12_500
"""Ended pods kept at most, as upstream."""


def orphaned(pods: Iterable[Pod], nodes: Collection[str]) -> list[Pod]:
    """Pods bound to a node that does not exist: no node process will ever confirm their end."""
    return [pod for pod in pods if pod.spec.node_name and pod.spec.node_name not in nodes]


def unscheduled_terminating(pods: Iterable[Pod]) -> list[Pod]:
    """Pods deleted before a node was found for them."""
    return [pod for pod in pods if pod.metadata.deletion_timestamp is not None and not pod.spec.node_name]


def surplus(pods: Iterable[Pod], threshold: int = TERMINATED_THRESHOLD) -> list[Pod]:
    """The oldest ended pods beyond the threshold."""
    ended = [pod for pod in pods if is_terminal(pod) and pod.metadata.deletion_timestamp is None]
    if len(ended) <= threshold:
        return []
    ended.sort(key=lambda pod: (pod.metadata.creation_timestamp or "", pod.key))
    return ended[: len(ended) - threshold]
