"""Which nodes have been given up as unreachable, as far as that judgement can be trusted."""

from __future__ import annotations

from pilothouse.controllers.conditions import find
from pilothouse.kinds.core.node import Node


class LostNodes:
    """The nodes whose Ready condition is Unknown, kept up by change: a look at all at each heartbeat is quadratic.

    When every node's is, none counts as lost: then the fault is here rather than there.
    """

    def __init__(self) -> None:
        self._silent: set[str] = set()
        self._answering: set[str] = set()

    def put(self, name: str, node: Node | None) -> bool:
        """The node as it is now, None when it is gone. True if `names` may be others than before."""
        before = name in self._silent, name in self._answering
        self._silent.discard(name)
        self._answering.discard(name)
        if node is not None:
            (self._silent if _is_silent(node) else self._answering).add(name)
        return before != (name in self._silent, name in self._answering)

    def names(self) -> frozenset[str]:
        return frozenset(self._silent) if self._answering else frozenset()

    def is_lost(self, node: Node) -> bool:
        """Whether this node, which may be newer than what was put, counts as lost."""
        return _is_silent(node) and not self._answering <= {node.name}


def _is_silent(node: Node) -> bool:
    ready = find(node.status.conditions, "Ready")
    return ready is not None and ready.status == "Unknown"
