"""CEL's operators. Source: the CEL specification, "Standard definitions"."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from pilothouse.policy.cel import values
from pilothouse.policy.cel.budget import Budget
from pilothouse.policy.cel.errors import EvaluationError
from pilothouse.policy.cel.library import costs
from pilothouse.policy.cel.registry import function
from pilothouse.policy.cel.values import Duration, MapList, SetList, Timestamp, UInt, integer, size, unsigned

_NUMERIC = ("int", "uint", "double")
_ORDERED = ("string", "bytes", "bool", "timestamp", "duration")


def _equality_cost(left: Any, right: Any) -> int:
    return 1 if isinstance(left, values.Opaque) else costs.shorter(left, right)


@function(":_==_(A, A) -> bool", cost=_equality_cost, known=True)
def _(budget: Budget, left: Any, right: Any) -> bool:
    return values.equal(left, right, budget)


@function(":_!=_(A, A) -> bool", cost=_equality_cost, known=True)
def _(budget: Budget, left: Any, right: Any) -> bool:
    return not values.equal(left, right, budget)


def _order_cost(left: Any, right: Any) -> int:
    return costs.shorter(left, right) if isinstance(left, (str, bytes)) else 1


def _ordering(operator: str, holds: Callable[[int], bool]) -> None:
    signatures = [f":{operator}({a}, {b}) -> bool" for a in _NUMERIC for b in _NUMERIC]
    signatures += [f":{operator}({kind}, {kind}) -> bool" for kind in _ORDERED]

    @function(*signatures, cost=_order_cost)
    def _(budget: Budget, left: Any, right: Any) -> bool:
        if left != left or right != right:  # not a number
            return False
        return holds(values.compare(left, right))


_ordering("_<_", lambda found: found < 0)
_ordering("_<=_", lambda found: found <= 0)
_ordering("_>_", lambda found: found > 0)
_ordering("_>=_", lambda found: found >= 0)


@function(":_+_(int, int) -> int", known=True)
def _(budget: Budget, left: int, right: int) -> int:
    return integer(left + right)


@function(":_+_(uint, uint) -> uint", known=True)
def _(budget: Budget, left: UInt, right: UInt) -> UInt:
    return unsigned(int(left) + int(right))


@function(":_+_(double, double) -> double", known=True)
def _(budget: Budget, left: float, right: float) -> float:
    return left + right


@function(":_+_(string, string) -> string", ":_+_(bytes, bytes) -> bytes", cost=costs.both, known=True)
def _(budget: Budget, left: Any, right: Any) -> Any:
    budget.room_for(len(left) + len(right))
    return left + right


@function(":_+_(list(A), list(A)) -> list(A)", known=True)
def _(budget: Budget, left: list[Any], right: list[Any]) -> list[Any]:
    budget.room_for((len(left) + len(right)) * 10)
    budget.work((len(left) + len(right)) // 32)
    if isinstance(left, MapList):
        newer = {left.key_of(entry): entry for entry in right}
        kept = [newer.pop(left.key_of(entry), entry) for entry in left]
        return MapList([*kept, *newer.values()], left.keys)
    if isinstance(left, SetList):
        return SetList([*left, *(entry for entry in right if not values.contains(left, entry, budget))])
    return [*left, *right]


@function(":_+_(timestamp, duration) -> timestamp", ":_+_(duration, timestamp) -> timestamp", known=True)
def _(budget: Budget, left: Any, right: Any) -> Timestamp:
    return Timestamp.of(left.nanos + right.nanos)


@function(":_+_(duration, duration) -> duration", known=True)
def _(budget: Budget, left: Duration, right: Duration) -> Duration:
    return Duration.of(left.nanos + right.nanos)


@function(":_-_(int, int) -> int", known=True)
def _(budget: Budget, left: int, right: int) -> int:
    return integer(left - right)


@function(":_-_(uint, uint) -> uint", known=True)
def _(budget: Budget, left: UInt, right: UInt) -> UInt:
    return unsigned(int(left) - int(right))


@function(":_-_(double, double) -> double", known=True)
def _(budget: Budget, left: float, right: float) -> float:
    return left - right


@function(":_-_(timestamp, timestamp) -> duration", ":_-_(duration, duration) -> duration", known=True)
def _(budget: Budget, left: Any, right: Any) -> Duration:
    return Duration.of(left.nanos - right.nanos)


@function(":_-_(timestamp, duration) -> timestamp", known=True)
def _(budget: Budget, left: Timestamp, right: Duration) -> Timestamp:
    return Timestamp.of(left.nanos - right.nanos)


@function(":_*_(int, int) -> int", known=True)
def _(budget: Budget, left: int, right: int) -> int:
    return integer(left * right)


@function(":_*_(uint, uint) -> uint", known=True)
def _(budget: Budget, left: UInt, right: UInt) -> UInt:
    return unsigned(int(left) * int(right))


@function(":_*_(double, double) -> double", known=True)
def _(budget: Budget, left: float, right: float) -> float:
    return left * right


@function(":_/_(int, int) -> int", known=True)
def _(budget: Budget, left: int, right: int) -> int:
    return integer(_quotient(left, right))


@function(":_/_(uint, uint) -> uint", known=True)
def _(budget: Budget, left: UInt, right: UInt) -> UInt:
    return UInt(_quotient(int(left), int(right)))


@function(":_/_(double, double) -> double", known=True)
def _(budget: Budget, left: float, right: float) -> float:
    if right:
        return left / right
    if not left or left != left:
        return float("nan")
    return float("inf") if (left > 0) == (str(right)[0] != "-") else float("-inf")


@function(":_%_(int, int) -> int", ":_%_(uint, uint) -> uint", known=True)
def _(budget: Budget, left: int, right: int) -> int:
    if not right:
        raise EvaluationError("modulus by zero")
    rest = abs(left) % abs(right)
    return type(left)(-rest if left < 0 else rest)


def _quotient(left: int, right: int) -> int:
    """Towards zero."""
    if not right:
        raise EvaluationError("division by zero")
    found = abs(left) // abs(right)
    return found if (left < 0) == (right < 0) else -found


@function(":-_(int) -> int", known=True)
def _(budget: Budget, value: int) -> int:
    return integer(-value)


@function(":-_(double) -> double", known=True)
def _(budget: Budget, value: float) -> float:
    return -value


@function(":!_(bool) -> bool", known=True)
def _(budget: Budget, value: bool) -> bool:
    return not value


@function(":@in(A, list(A)) -> bool", cost=lambda value, entries: size(entries), known=True)
def _(budget: Budget, value: Any, entries: list[Any]) -> bool:
    return values.contains(entries, value, budget)


@function(":@in(A, map(A, B)) -> bool", known=True)
def _(budget: Budget, value: Any, entries: dict[Any, Any]) -> bool:
    return type(value) in (str, int, UInt, bool, float) and values.map_key(value) in entries


_SIZED = [f":size({kind}) -> int" for kind in ("string", "bytes", "list(A)", "map(A, B)")]


@function(*_SIZED, *(f"{text[6:-8]}.size() -> int" for text in _SIZED), known=True)
def _(budget: Budget, value: Any) -> int:
    return len(value)


@function(":type(A) -> type", known=True)
def _(budget: Budget, value: Any) -> values.TypeValue:
    return values.TypeValue(values.type_name(value))


@function(":dyn(A) -> dyn", known=True)
def _(budget: Budget, value: Any) -> Any:
    return value
