"""What Kubernetes checks beyond CEL's types: lists and maps of one type, and literals that can be read.

Source: `cel.HomogeneousAggregateLiterals` and the AST validators of Kubernetes' base environment.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

from pilothouse.policy.cel import types
from pilothouse.policy.cel.errors import CompileError, EvaluationError
from pilothouse.policy.cel.library import regex, times
from pilothouse.policy.cel.tree import Call, Checked, Const, Fold, Ident, MakeList, MakeMap, MakeStruct, Node, Select
from pilothouse.policy.cel.types import Type

_PATTERNS = {"matches": 1, "find": 1, "findAll": 1}
"""Where the pattern stands among the arguments."""
_READERS: Mapping[str, Callable[[str], Any]] = {
    **dict.fromkeys(_PATTERNS, regex.compiled),
    "timestamp": times.parse_timestamp,
    "duration": times.parse_duration,
}


def check(checked: Checked, expression: str) -> None:
    """Raises CompileError for the first thing found."""
    for node in nodes(checked.root):
        found = _wrong(node, checked)
        if found is not None:
            at, reason = found
            raise error_at(reason, expression, checked.positions.get(at, 0))


def error_at(reason: str, expression: str, position: int) -> CompileError:
    """An error with its place, as cel-go shows it."""
    before = expression[:position]
    line, column = before.count("\n") + 1, position - (before.rfind("\n") + 1)
    text = expression.split("\n")[line - 1]
    return CompileError(
        f"ERROR: <input>:{line}:{column + 1}: {reason}\n | {text}\n | {'.' * column}^", line, column + 1
    )


def nodes(root: Node) -> Iterator[Node]:
    """All nodes of a tree, parents first."""
    waiting = [root]
    while waiting:
        node = waiting.pop()
        yield node
        waiting += reversed(_children(node))


def _children(node: Node) -> list[Node]:
    if isinstance(node, (Const, Ident)):
        return []
    if isinstance(node, Select):
        return [node.operand]
    if isinstance(node, Call):
        return node.args
    if isinstance(node, MakeList):
        return node.elements
    if isinstance(node, MakeMap):
        return [part for key, value, _ in node.entries for part in (key, value)]
    if isinstance(node, MakeStruct):
        return [value for _, value, _ in node.entries]
    return _of_fold(node)


def _of_fold(node: Fold) -> list[Node]:
    return [node.iter_range, node.accu_init, node.condition, node.step, node.result]


def _wrong(node: Node, checked: Checked) -> tuple[int, str] | None:
    if isinstance(node, Call):
        return _bad_literal(node)
    if isinstance(node, MakeList):
        return _mixed([(entry, at in node.optional) for at, entry in enumerate(node.elements)], checked)
    if isinstance(node, MakeMap):
        keys = _mixed([(key, False) for key, _, _ in node.entries], checked)
        return keys or _mixed([(value, optional) for _, value, optional in node.entries], checked)
    return None


def _mixed(entries: list[tuple[Node, bool]], checked: Checked) -> tuple[int, str] | None:
    first: Type | None = None
    for entry, optional in entries:
        kind = checked.types.get(entry.id, types.DYN)
        if optional and kind.name == "optional_type" and kind.params:
            kind = kind.params[0]
        if kind == types.DYN:
            return None  # whatever comes after one that may be anything is of its type
        if first is None:
            first = kind
        elif not _alike(first, kind):
            return entry.id, f"expected type '{first}' but found '{kind}'"
    return None


def _alike(left: Type, right: Type) -> bool:
    if types.DYN in (left, right) or types.NULL in (left, right):
        return True
    if left.name != right.name or len(left.params) != len(right.params):
        return False
    return all(_alike(a, b) for a, b in zip(left.params, right.params))


def _bad_literal(node: Call) -> tuple[int, str] | None:
    at = _PATTERNS.get(node.function, 0)
    literal = node.args[at] if at < len(node.args) else None
    read = _READERS.get(node.function)
    if read is None or not isinstance(literal, Const) or not isinstance(literal.value, str):
        return None
    try:
        read(literal.value)
    except EvaluationError:
        return literal.id, f"invalid {node.function} argument"
    return None
