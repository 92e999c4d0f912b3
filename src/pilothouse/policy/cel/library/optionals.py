"""Optional values. Source: cel-go `cel/library.go`, OptionalTypes. `or` and `orValue` are in `evaluate.py`, since they
evaluate their second side only where it is needed; `optMap` and `optFlatMap` are macros, written out by the parser."""

from __future__ import annotations

from typing import Any

from pilothouse.policy.cel.budget import Budget
from pilothouse.policy.cel.errors import EvaluationError
from pilothouse.policy.cel.registry import function
from pilothouse.policy.cel.values import NONE, Optional

_ZERO = (None, False, 0, 0.0, "", b"")


@function(":optional.of(A) -> optional(A)", known=True)
def _(budget: Budget, value: Any) -> Optional:
    return Optional(value, True)


@function(":optional.none() -> optional(A)", known=True)
def _(budget: Budget) -> Optional:
    return NONE


@function(":optional.ofNonZeroValue(A) -> optional(A)", known=True)
def _(budget: Budget, value: Any) -> Optional:
    empty = not value if isinstance(value, (list, dict)) else type(value) in map(type, _ZERO) and value in _ZERO
    return NONE if empty else Optional(value, True)


@function("optional(A).hasValue() -> bool", known=True)
def _(budget: Budget, value: Optional) -> bool:
    return value.present


@function("optional(A).value() -> A", known=True)
def _(budget: Budget, value: Optional) -> Any:
    if not value.present:
        raise EvaluationError("optional.none() dereference")
    return value.value


@function(":optional.unwrap(list(optional(A))) -> list(A)", "list(optional(A)).unwrapOpt() -> list(A)", known=True)
def _(budget: Budget, entries: list[Any]) -> list[Any]:
    return [entry.value for entry in entries if type(entry) is Optional and entry.present]
