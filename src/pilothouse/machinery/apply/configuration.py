"""An apply configuration merged into an object, by nobody: no manager owns its fields, and it takes nothing away.

Source: Kubernetes documentation, "Mutating Admission Policy": apply configurations may not set what is atomic, as that
would take away what they leave out.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from pilothouse.machinery.apply.fields import indistinct, is_granular
from pilothouse.machinery.apply.merge import merge
from pilothouse.machinery.objects import Obj
from pilothouse.machinery.schema import Node


class InvalidConfiguration(ValueError):
    """A configuration that does not fit the kind; the message says where and why."""


def merged(node: Node, live: Obj, configuration: Obj) -> Obj:
    """The live object with the configuration merged in; neither is changed. Raises InvalidConfiguration."""
    faults = list(_faults(node, configuration, ""))
    wrong = [f"{path}: {why}" for path, why in faults if why != _ATOMIC]
    if wrong:
        raise InvalidConfiguration(f"invalid ApplyConfiguration: {'; '.join(wrong)}")
    if atomic := [path for path, _ in faults]:
        raise InvalidConfiguration(
            f"invalid ApplyConfiguration: may not mutate atomic arrays, maps or structs: {', '.join(atomic)}"
        )
    found: Obj = merge(node, live, configuration)
    return found


_ATOMIC = "atomic"


def _faults(node: Node, value: Any, path: str) -> Iterator[tuple[str, str]]:
    """Where a configuration has what it may not, and why."""
    if isinstance(value, dict) and node.type in ("object", "map"):
        if not is_granular(node, value):
            yield path, _ATOMIC
            return
        for name, inner in value.items():
            where = f"{path}.{name}"
            below = node.items if node.type == "map" else node.properties.get(name) or node.rest
            if below is None:
                yield where, "field not declared in schema"
            else:
                yield from _faults(below, inner, where)
    elif isinstance(value, list) and node.type == "array":
        if not is_granular(node, value):
            yield path, _ATOMIC
        elif fault := indistinct(node, value):
            yield path, fault
        else:
            for index, inner in enumerate(value):
                yield from _faults(node.items, inner, f"{path}[{index}]")
