"""Quantities inside an object's maps: brought to their canonical text, and checked."""

from __future__ import annotations

from fractions import Fraction
from functools import lru_cache

from pilothouse.kinds.problems import NOT_NEGATIVE, Problems
from pilothouse.machinery.objects import Obj
from pilothouse.machinery.quantity import InvalidQuantity, canonical, parse_quantity

BAD_QUANTITY = "quantities must match the regular expression '^([+-]?[0-9.]+)([eEinumkKMGTP]*[-+]?[0-9]*)$'"

_canonical = lru_cache(maxsize=2048)(canonical)


def canonical_quantities(tree: Obj | None) -> None:
    """Rewrites a map's quantities in canonical form, in place; what is no quantity stays for validation to report."""
    for key, value in (tree or {}).items():
        canonical_quantity(tree or {}, key, value)


def canonical_quantity(tree: Obj, key: str, value: str | int | float) -> None:
    """Rewrites one quantity of a tree in canonical form."""
    try:
        tree[key] = _canonical(value)
    except InvalidQuantity:
        tree[key] = str(value)


def check_quantity(text: str, path: str, problems: Problems) -> bool:
    """Reports a text that is no quantity or a negative one; True when it is fine."""
    amount = amount_of(text)
    if amount is None:
        problems.invalid(path, text, BAD_QUANTITY)
        return False
    if amount.numerator < 0:
        problems.invalid(path, text, NOT_NEGATIVE)
        return False
    return True


@lru_cache(maxsize=2048)
def amount_of(text: str) -> Fraction | None:
    """The number a quantity stands for, None when it is none."""
    try:
        return parse_quantity(text)
    except InvalidQuantity:
        return None
