"""Which nodes have been given up as unreachable, as far as that judgement can be trusted."""

from __future__ import annotations

from collections.abc import Iterable

from pilothouse.controllers.conditions import find
from pilothouse.kinds.core.node import Node


def lost_nodes(nodes: Iterable[Node]) -> frozenset[str]:
    """Nodes whose Ready condition is Unknown, or none when every node is: then the fault is here rather than there."""
    lost, answering = [], False
    for node in nodes:
        ready = find(node.status.conditions, "Ready")
        if ready is not None and ready.status == "Unknown":
            lost.append(node.name)
        else:
            answering = True
    return frozenset(lost) if answering else frozenset()
