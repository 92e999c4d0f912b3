"""What calls cost, from the sizes of their arguments.

Source: cel-go `checker/cost.go` and Kubernetes' `library/cost.go`.
"""

from __future__ import annotations

from math import ceil
from typing import Any

from pilothouse.policy.cel.values import size

TRAVERSAL = 0.1
"""For each character that is looked at."""
REGEX = 0.25
"""For each character of a pattern."""


def traverse(value: Any, *_: Any) -> int:
    """A text is read once."""
    return ceil(size(value) * TRAVERSAL)


def traverse_twice(value: Any, *_: Any) -> int:
    """A text is read and another written."""
    return ceil(size(value) * 2 * TRAVERSAL)


def shorter(left: Any, right: Any) -> int:
    """A comparison ends with the shorter."""
    return ceil(min(size(left), size(right)) * TRAVERSAL)


def both(left: Any, right: Any) -> int:
    """Both are copied."""
    return ceil((size(left) + size(right)) * TRAVERSAL)


def product(left: Any, right: Any) -> int:
    """One is looked for in the other."""
    return ceil(size(left) * TRAVERSAL) * ceil(size(right) * TRAVERSAL)


def match(text: Any, pattern: Any, *_: Any) -> int:
    """A pattern is run over a text."""
    return ceil((1 + size(text)) * TRAVERSAL) * ceil(size(pattern) * REGEX)


def pairs(left: Any, right: Any) -> int:
    """Each element is compared with each."""
    return size(left) * size(right)


def tree(value: Any, *_: Any) -> int:
    """Everything in a value is looked at."""
    if isinstance(value, (str, bytes)):
        return int(len(value) * TRAVERSAL)
    if isinstance(value, list):
        return sum(map(tree, value))
    if isinstance(value, dict):
        return sum(tree(key) + tree(entry) for key, entry in value.items())
    return 1
