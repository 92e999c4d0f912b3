"""Resource quantities. Source: Kubernetes `library/quantity.go`."""

from __future__ import annotations

import re
from fractions import Fraction

from pilothouse.machinery import quantity as rules
from pilothouse.policy.cel.budget import Budget
from pilothouse.policy.cel.errors import EvaluationError
from pilothouse.policy.cel.library import costs
from pilothouse.policy.cel.registry import function
from pilothouse.policy.cel.values import INT_MAX, INT_MIN, Opaque

_SHAPE = re.compile(r"[+-]?[0-9.]+[eEinumkKMGTP]*[-+]?[0-9]*", re.ASCII)
_REASON = "quantities must match the regular expression '^([+-]?[0-9.]+)([eEinumkKMGTP]*[-+]?[0-9]*)$'"


class Quantity(Opaque):
    """A quantity; equal to another of the same amount."""

    __slots__ = ("amount",)
    TYPE = "kubernetes.Quantity"

    def __init__(self, amount: Fraction) -> None:
        self.amount = amount

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Quantity) and other.amount == self.amount

    def __hash__(self) -> int:
        return hash(self.amount)


@function(":quantity(string) -> Quantity", cost=costs.traverse)
def _(budget: Budget, text: str) -> Quantity:
    try:
        return Quantity(rules.parse_quantity(text))
    except rules.InvalidQuantity:
        fits = _SHAPE.fullmatch(text) is not None
        raise EvaluationError("unable to parse quantity's suffix" if fits else _REASON) from None


@function(":isQuantity(string) -> bool", cost=costs.traverse)
def _(budget: Budget, text: str) -> bool:
    try:
        rules.parse_quantity(text)
    except rules.InvalidQuantity:
        return False
    return True


@function("Quantity.sign() -> int")
def _(budget: Budget, value: Quantity) -> int:
    return (value.amount > 0) - (value.amount < 0)


def _fits(value: Quantity) -> bool:
    """Amounts end at 2**63 - 1, which stands for all that is larger."""
    return value.amount.denominator == 1 and INT_MIN <= value.amount < INT_MAX


@function("Quantity.isInteger() -> bool")
def _(budget: Budget, value: Quantity) -> bool:
    return _fits(value)


@function("Quantity.asInteger() -> int")
def _(budget: Budget, value: Quantity) -> int:
    if not _fits(value):
        raise EvaluationError("cannot convert value to integer")
    return int(value.amount)


@function("Quantity.asApproximateFloat() -> double")
def _(budget: Budget, value: Quantity) -> float:
    return float(value.amount)


@function("Quantity.isGreaterThan(Quantity) -> bool")
def _(budget: Budget, value: Quantity, other: Quantity) -> bool:
    return value.amount > other.amount


@function("Quantity.isLessThan(Quantity) -> bool")
def _(budget: Budget, value: Quantity, other: Quantity) -> bool:
    return value.amount < other.amount


@function("Quantity.compareTo(Quantity) -> int")
def _(budget: Budget, value: Quantity, other: Quantity) -> int:
    return (value.amount > other.amount) - (value.amount < other.amount)


@function("Quantity.add(Quantity) -> Quantity")
def _(budget: Budget, value: Quantity, other: Quantity) -> Quantity:
    return Quantity(value.amount + other.amount)


@function("Quantity.sub(Quantity) -> Quantity")
def _(budget: Budget, value: Quantity, other: Quantity) -> Quantity:
    return Quantity(value.amount - other.amount)


@function("Quantity.add(int) -> Quantity")
def _(budget: Budget, value: Quantity, other: int) -> Quantity:
    return Quantity(value.amount + other)


@function("Quantity.sub(int) -> Quantity")
def _(budget: Budget, value: Quantity, other: int) -> Quantity:
    return Quantity(value.amount - other)
