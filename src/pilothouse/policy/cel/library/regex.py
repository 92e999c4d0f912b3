"""Regular expressions, matched in linear time by RE2, whose syntax is the one CEL names.

Source: CEL specification (`matches`); Kubernetes `library/regex.go` (`find`, `findAll`).
"""

from __future__ import annotations

from functools import lru_cache
from typing import Any

import re2

from pilothouse.policy.cel.budget import Budget
from pilothouse.policy.cel.errors import EvaluationError
from pilothouse.policy.cel.library import costs
from pilothouse.policy.cel.registry import function

_MEMORY = 8 * 1024 * 1024


@lru_cache(maxsize=512)
def compiled(pattern: str) -> Any:
    """Raises EvaluationError for what is no pattern."""
    options = re2.Options()
    options.max_mem = _MEMORY
    options.log_errors = False
    try:
        return re2.compile(pattern, options=options)
    except re2.error as error:
        reason = error.args[0].decode() if isinstance(error.args[0], bytes) else error.args[0]
        raise EvaluationError(f"error parsing regexp: {reason}: `{pattern}`") from None


@function("string.matches(string) -> bool", ":matches(string, string) -> bool", cost=costs.match, known=True)
def _(budget: Budget, text: str, pattern: str) -> bool:
    return compiled(pattern).search(text) is not None


@function("string.find(string) -> string", cost=costs.match)
def _(budget: Budget, text: str, pattern: str) -> str:
    found = compiled(pattern).search(text)
    return found.group(0) if found else ""


@function("string.findAll(string) -> list(string)", cost=costs.match)
def _(budget: Budget, text: str, pattern: str) -> list[str]:
    return _find_all(budget, text, pattern, -1)


@function("string.findAll(string, int) -> list(string)", cost=costs.match)
def _(budget: Budget, text: str, pattern: str, limit: int) -> list[str]:
    return _find_all(budget, text, pattern, limit)


def _find_all(budget: Budget, text: str, pattern: str, limit: int) -> list[str]:
    found: list[str] = []
    for match in compiled(pattern).finditer(text):
        if 0 <= limit <= len(found):
            break
        budget.work(4)
        found.append(match.group(0))
    return found
