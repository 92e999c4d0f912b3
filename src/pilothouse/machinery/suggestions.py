"""What was probably meant by a field that does not exist: a near spelling, or the same name in another place."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from typing import Final

from pilothouse.machinery.schema import Node

Place = tuple[Node, str]
"""An object's shape and the prefix of its fields' paths, such as `spec.` ("" at the root)."""

_NEAR: Final = 0.7
_DEPTH: Final = 5
_TOO_COMMON: Final = frozenset(("name", "type", "key", "value", "kind", "path", "namespace", "labels", "status"))
"""Names found in so many places that one more place says nothing."""
_NOT_WRITTEN: Final = frozenset(("metadata", "status"))


def suggestion(name: str, places: Sequence[Place]) -> str:
    """The path of the field that was probably meant, "" if nothing is near.

    `places` leads from the root to the object that holds the unknown field. Looked at in this order: fields beside it
    that are spelled much the same, the same name further up, the same name further down.
    """
    node, prefix = places[-1]
    beside = _near(name, node)
    if beside:
        return prefix + beside
    if name in _TOO_COMMON:
        return ""
    above = next((prefix for node, prefix in reversed(places[:-1]) if name in node.properties), None)
    if above is not None:
        return above + name
    return _below(name, places[-1])


def _near(name: str, node: Node) -> str:
    import difflib  # late: most processes never meet an unknown field

    lowered = {field.lower(): field for field in node.properties}
    near = difflib.get_close_matches(name.lower(), lowered, n=1, cutoff=_NEAR)
    return lowered[near[0]] if near else ""


def _below(name: str, place: Place) -> str:
    """The nearest field of this name below an object, breadth first."""
    queue = deque([(place, 0)])
    seen: set[str] = set()
    while queue:
        (node, prefix), depth = queue.popleft()
        if depth and name in node.properties:
            return prefix + name
        if depth == _DEPTH:
            continue
        for field, child in node.properties.items():
            inner, index = (child.items, "[0]") if child.type == "array" else (child, "")
            if inner.type != "object" or field in _NOT_WRITTEN or (inner.definition and inner.definition in seen):
                continue
            seen.add(inner.definition)
            queue.append(((inner, f"{prefix}{field}{index}."), depth + 1))
    return ""
