"""Quantities by name, added and told."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TypeAlias

from pilothouse.machinery.quantity import InvalidQuantity, Quantity

Amounts: TypeAlias = dict[str, Quantity]


def amounts(texts: Mapping[str, str]) -> Amounts:
    """The quantities of a map, without what is none: validation reports that."""
    found: Amounts = {}
    for name, text in texts.items():
        try:
            found[name] = Quantity.parse(text)
        except InvalidQuantity:
            continue
    return found


def plus(left: Quantity, right: Quantity) -> Quantity:
    """The sum, written as the first of the two that is not zero."""
    return Quantity(left.value + right.value, left.format if left.value else right.format)


def minus(left: Quantity, right: Quantity) -> Quantity:
    return Quantity(left.value - right.value, left.format if left.value else right.format)


def add(total: Amounts, more: Mapping[str, Quantity]) -> None:
    """Adds in place."""
    for name, amount in more.items():
        found = total.get(name)
        total[name] = amount if found is None else plus(found, amount)


def take(total: Amounts, less: Mapping[str, Quantity]) -> None:
    """Subtracts in place what was added before."""
    for name, amount in less.items():
        total[name] = minus(total[name], amount)


def raise_to(total: Amounts, least: Mapping[str, Quantity]) -> None:
    """Makes every amount at least as large as that of `least`, in place."""
    for name, amount in least.items():
        found = total.get(name)
        if found is None or found.value < amount.value:
            total[name] = amount


def text(found: Mapping[str, Quantity], names: Iterable[str]) -> str:
    """`cpu=1,memory=2Gi`, the names in order."""
    return ",".join(f"{name}={found.get(name, _ZERO)}" for name in sorted(names))


_ZERO = Quantity.parse("0")
ONE = Quantity.parse("1")
