"""Lists: Kubernetes' `library/lists.go`, CEL's sets, and the lists extension."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cmp_to_key, lru_cache
from itertools import pairwise
from typing import Any

from pilothouse.policy.cel import values
from pilothouse.policy.cel.budget import Budget
from pilothouse.policy.cel.errors import EvaluationError
from pilothouse.policy.cel.library import costs
from pilothouse.policy.cel.registry import OVERLOADS, Implementation, function
from pilothouse.policy.cel.values import Duration, UInt, compare, equal, size

_SUMMABLE = ("int", "uint", "double", "duration")
_ORDERED = (*_SUMMABLE, "bool", "string", "bytes", "timestamp")


_ZERO: Mapping[type, Any] = {int: 0, UInt: UInt(0), float: 0.0, Duration: Duration(0)}


@lru_cache(maxsize=4)
def _plus(kind: str) -> Implementation:
    return next(entry.run for entry in OVERLOADS["_+_"] if [param.name for param in entry.params] == [kind, kind])


@function(*(f"list({kind}).sum() -> {kind}" for kind in _SUMMABLE), cost=costs.tree)
def _(budget: Budget, entries: list[Any]) -> Any:
    if not entries:
        return 0
    total = _ZERO.get(type(entries[0]))
    if total is None:
        raise values.no_such_overload()
    budget.work(len(entries) // 4)
    add = _plus(values.type_name(total))
    for entry in entries:
        if type(entry) is not type(total):
            raise values.no_such_overload()
        total = add(budget, total, entry)
    return total


@function(*(f"list({kind}).isSorted() -> bool" for kind in _ORDERED), cost=costs.tree)
def _(budget: Budget, entries: list[Any]) -> bool:
    budget.work(len(entries) // 4)
    return all(compare(first, second) <= 0 for first, second in pairwise(entries))


def _extreme(name: str, sign: int) -> None:
    @function(*(f"list({kind}).{name}() -> {kind}" for kind in _ORDERED), cost=costs.tree)
    def _(budget: Budget, entries: list[Any]) -> Any:
        if not entries:
            raise EvaluationError(f"{name} called on empty list")
        budget.work(len(entries) // 4)
        best = entries[0]
        for entry in entries[1:]:
            if compare(entry, best) * sign > 0:
                best = entry
        return best


_extreme("min", -1)
_extreme("max", 1)


@function("list(A).indexOf(A) -> int", cost=costs.tree)
def _(budget: Budget, entries: list[Any], value: Any) -> int:
    budget.work(len(entries) // 8)
    return next((at for at, entry in enumerate(entries) if equal(entry, value, budget)), -1)


@function("list(A).lastIndexOf(A) -> int", cost=costs.tree)
def _(budget: Budget, entries: list[Any], value: Any) -> int:
    budget.work(len(entries) // 8)
    return next((at for at in reversed(range(len(entries))) if equal(entries[at], value, budget)), -1)


@function(":sets.contains(list(A), list(A)) -> bool", cost=costs.pairs)
def _(budget: Budget, entries: list[Any], part: list[Any]) -> bool:
    return _all_in(budget, part, entries)


@function(":sets.equivalent(list(A), list(A)) -> bool", cost=lambda a, b: 2 * costs.pairs(a, b))
def _(budget: Budget, left: list[Any], right: list[Any]) -> bool:
    return _all_in(budget, left, right) and _all_in(budget, right, left)


@function(":sets.intersects(list(A), list(A)) -> bool", cost=costs.pairs)
def _(budget: Budget, left: list[Any], right: list[Any]) -> bool:
    return any(values.contains(right, entry, budget) for entry in left)


def _all_in(budget: Budget, part: list[Any], entries: list[Any]) -> bool:
    return all(values.contains(entries, entry, budget) for entry in part)


@function("list(A).slice(int, int) -> list(A)", cost=lambda entries, *_: 1 + len(entries))
def _(budget: Budget, entries: list[Any], start: int, end: int) -> list[Any]:
    if start < 0 or end < 0:
        raise EvaluationError(f"cannot slice({start}, {end}), negative indexes not supported")
    if start > end:
        raise EvaluationError(f"cannot slice({start}, {end}), start index must be less than or equal to end index")
    if end > len(entries):
        raise EvaluationError(f"cannot slice({start}, {end}), list is length {len(entries)}")
    return entries[start:end]


@function("list(list(A)).flatten() -> list(A)", cost=lambda entries: 1 + sum(map(size, entries)))
def _(budget: Budget, entries: list[Any]) -> list[Any]:
    found: list[Any] = []
    for entry in entries:
        found += entry if isinstance(entry, list) else [entry]
    budget.room_for(len(found) * 10)
    return found


@function("list(A).distinct() -> list(A)", cost=lambda entries: 1 + len(entries) ** 2)
def _(budget: Budget, entries: list[Any]) -> list[Any]:
    found: list[Any] = []
    for entry in entries:
        if not values.contains(found, entry, budget):
            found.append(entry)
    return found


@function("list(A).reverse() -> list(A)", cost=lambda entries: 1 + len(entries))
def _(budget: Budget, entries: list[Any]) -> list[Any]:
    return entries[::-1]


@function(*(f"list({kind}).sort() -> list({kind})" for kind in _ORDERED), cost=lambda entries: 1 + len(entries) ** 2)
def _(budget: Budget, entries: list[Any]) -> list[Any]:
    budget.work(len(entries))
    return sorted(entries, key=cmp_to_key(compare))


@function(":lists.range(int) -> list(int)", cost=lambda count: 1 + max(count, 0))
def _(budget: Budget, count: int) -> list[int]:
    budget.room_for(count * 10)
    return list(range(count))
