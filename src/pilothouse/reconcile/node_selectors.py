"""Node selectors: which nodes a node affinity (of a pod or of a volume) admits.

Source of the rules: core/v1 NodeSelector; terms are alternatives, the requirements of a term must all hold.
"""

from __future__ import annotations

from collections.abc import Iterable

from pilothouse.kinds.core.node import Node
from pilothouse.kinds.core.pod import NodeSelector, NodeSelectorRequirement, NodeSelectorTerm


def selects(selector: NodeSelector, node: Node) -> bool:
    return any(term_selects(term, node) for term in selector.node_selector_terms)


def term_selects(term: NodeSelectorTerm, node: Node) -> bool:
    """A term without requirements selects nothing."""
    if not term.match_expressions and not term.match_fields:
        return False
    labels = node.metadata.labels
    return _all_hold(term.match_expressions, labels) and _all_hold(term.match_fields, {"metadata.name": node.name})


def _all_hold(requirements: Iterable[NodeSelectorRequirement], values: dict[str, str]) -> bool:
    return all(_holds(requirement, values.get(requirement.key)) for requirement in requirements)


def _holds(requirement: NodeSelectorRequirement, value: str | None) -> bool:
    match requirement.operator:
        case "In":
            return value is not None and value in requirement.values
        case "NotIn":
            return value is None or value not in requirement.values
        case "Exists":
            return value is not None
        case "DoesNotExist":
            return value is None
        case "Gt" | "Lt":
            return _compares(requirement, value)
        case _:
            return False


def _compares(requirement: NodeSelectorRequirement, value: str | None) -> bool:
    try:
        left, right = int(value or ""), int(requirement.values[0])
    except (ValueError, IndexError):
        return False
    return left > right if requirement.operator == "Gt" else left < right
