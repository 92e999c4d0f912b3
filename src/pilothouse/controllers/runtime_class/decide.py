"""Which RuntimeClasses there should be, from what nodes say works on them. Pure."""

from __future__ import annotations

from collections.abc import Collection

from pilothouse.kinds.core.node import Node
from pilothouse.kinds.node.runtime_class import RuntimeClass, Scheduling
from pilothouse.kinds.view import ObjectMeta

LABEL = "runtime.pilothouse.io/"
"""Prefix of the node labels: `runtime.pilothouse.io/crun: "true"`."""
MANAGED = "pilothouse.io/managed-by"
MANAGER = "runtime-class-controller"


def handlers(node: Node) -> set[str]:
    """The handlers that work on a node."""
    return {
        label.removeprefix(LABEL)
        for label, value in node.metadata.labels.items()
        if label.startswith(LABEL) and value == "true"
    }


def wanted_class(handler: str) -> RuntimeClass:
    """The RuntimeClass of a handler: its pods go where it works."""
    return RuntimeClass(
        metadata=ObjectMeta(name=handler, labels={MANAGED: MANAGER}),
        handler=handler,
        scheduling=Scheduling(node_selector={LABEL + handler: "true"}),
    )


def is_surplus(runtime_class: RuntimeClass, working: Collection[str]) -> bool:
    """True for a class of ours whose handler works nowhere; a person's own classes are left alone."""
    return runtime_class.metadata.labels.get(MANAGED) == MANAGER and runtime_class.name not in working
