"""What a simulation is made of: node types, as `kind: Simulation` in a file describes them."""

from __future__ import annotations

from typing import Any

import msgspec

from pilothouse.machinery.quantity import InvalidQuantity, cpu_millis, to_bytes

API_VERSION, KIND = "simulation.pilothouse.dev/v1", "Simulation"


class InvalidSetting(ValueError):
    """The Simulation cannot be used; the message names the field and what is wrong."""


class NodeType(msgspec.Struct, forbid_unknown_fields=True, frozen=True):
    """Nodes that are all alike; `price` is what one costs for an hour, in any currency."""

    name: str
    count: int
    cpu: str
    memory: str
    pods: int = 110
    resources: dict[str, str] = {}
    labels: dict[str, str] = {}
    taints: list[dict[str, Any]] = []
    zones: list[str] = []
    price: float = 0.0


class _Document(msgspec.Struct, rename="camel", forbid_unknown_fields=True):
    api_version: str
    kind: str
    nodes: list[NodeType]
    metadata: dict[str, Any] = {}


def node_types(tree: dict[str, Any]) -> list[NodeType]:
    """The node types of a Simulation. Raises InvalidSetting."""
    try:
        document = msgspec.convert(tree, _Document)
    except msgspec.ValidationError as error:
        raise InvalidSetting(str(error)) from error
    if document.api_version != API_VERSION:
        raise InvalidSetting(f"apiVersion is {document.api_version}; write {API_VERSION}")
    for number, kind in enumerate(document.nodes):
        where = f"nodes[{number}]"
        if kind.count < 1:
            raise InvalidSetting(f"{where}.count is {kind.count}; there must be one at least")
        try:
            for name, text in {"cpu": kind.cpu, "memory": kind.memory, **kind.resources}.items():
                cpu_millis(text) if name == "cpu" else to_bytes(text)
        except InvalidQuantity as error:
            raise InvalidSetting(f"{where}: {error}") from error
    names = [kind.name for kind in document.nodes]
    if not names or len(set(names)) < len(names):
        raise InvalidSetting("nodes: there must be at least one type, each with a name of its own")
    return document.nodes
