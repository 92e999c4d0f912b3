"""Text: CEL's own functions and its strings extension, version 2. Source: cel-go `ext/strings.go`."""

from __future__ import annotations

from typing import Any

from pilothouse.policy.cel.budget import Budget
from pilothouse.policy.cel.errors import EvaluationError
from pilothouse.policy.cel.library import costs
from pilothouse.policy.cel.registry import function
from pilothouse.policy.cel.values import size

_LOWER = {code: code + 32 for code in range(ord("A"), ord("Z") + 1)}
_UPPER = {code: code - 32 for code in range(ord("a"), ord("z") + 1)}
_SPACE = " \t\n\v\f\r\x85\xa0\u1680" + "".join(map(chr, range(0x2000, 0x200B))) + "\u2028\u2029\u202f\u205f\u3000"


@function("string.contains(string) -> bool", cost=costs.product, known=True)
def _(budget: Budget, text: str, part: str) -> bool:
    return part in text


@function("string.startsWith(string) -> bool", cost=lambda text, part: costs.traverse(part), known=True)
def _(budget: Budget, text: str, part: str) -> bool:
    return text.startswith(part)


@function("string.endsWith(string) -> bool", cost=lambda text, part: costs.traverse(part), known=True)
def _(budget: Budget, text: str, part: str) -> bool:
    return text.endswith(part)


@function("string.charAt(int) -> string")
def _(budget: Budget, text: str, at: int) -> str:
    if not 0 <= at <= len(text):
        raise EvaluationError(f"index out of range: {at}")
    return text[at : at + 1]


@function("string.indexOf(string) -> int", "string.indexOf(string, int) -> int", cost=costs.tree)
def _(budget: Budget, text: str, part: str, start: int = 0) -> int:
    if start < 0 or start > len(text):
        raise EvaluationError(f"index out of range: {start}")
    return text.find(part, start)


@function("string.lastIndexOf(string) -> int", "string.lastIndexOf(string, int) -> int", cost=costs.tree)
def _(budget: Budget, text: str, part: str, last: int | None = None) -> int:
    if last is None:
        return text.rfind(part)
    if not 0 <= last <= len(text):
        raise EvaluationError(f"index out of range: {last}")
    return text.rfind(part, 0, last + len(part))


@function("string.lowerAscii() -> string", cost=costs.traverse)
def _(budget: Budget, text: str) -> str:
    return text.translate(_LOWER)


@function("string.upperAscii() -> string", cost=costs.traverse)
def _(budget: Budget, text: str) -> str:
    return text.translate(_UPPER)


@function("string.trim() -> string", cost=costs.traverse)
def _(budget: Budget, text: str) -> str:
    return text.strip(_SPACE)


@function("string.replace(string, string) -> string", cost=costs.traverse_twice)
def _(budget: Budget, text: str, old: str, new: str) -> str:
    return _replace(budget, text, old, new, -1)


@function("string.replace(string, string, int) -> string", cost=costs.traverse_twice)
def _(budget: Budget, text: str, old: str, new: str, limit: int) -> str:
    return _replace(budget, text, old, new, max(limit, -1))


def _replace(budget: Budget, text: str, old: str, new: str, limit: int) -> str:
    if len(new) > len(old):
        found = text.count(old)
        budget.room_for(len(text) + (found if limit < 0 else min(found, limit)) * (len(new) - len(old)))
    return text.replace(old, new, limit)


@function("string.split(string) -> list(string)", cost=costs.traverse_twice)
def _(budget: Budget, text: str, separator: str) -> list[str]:
    return _split(budget, text, separator, -1)


@function("string.split(string, int) -> list(string)", cost=costs.traverse_twice)
def _(budget: Budget, text: str, separator: str, limit: int) -> list[str]:
    return _split(budget, text, separator, limit)


def _split(budget: Budget, text: str, separator: str, limit: int) -> list[str]:
    if not limit:
        return []
    budget.work(len(text) // 64)
    if not separator:
        return list(text) if limit < 0 or limit >= len(text) else [*text[: limit - 1], text[limit - 1 :]]
    return text.split(separator, limit - 1 if limit > 0 else -1)


@function("string.substring(int) -> string", "string.substring(int, int) -> string", cost=costs.traverse)
def _(budget: Budget, text: str, start: int, end: int | None = None) -> str:
    until = len(text) if end is None else end
    if not 0 <= start <= len(text):
        raise EvaluationError(f"index out of range: {start}")
    if not 0 <= until <= len(text):
        raise EvaluationError(f"index out of range: {until}")
    if start > until:
        raise EvaluationError(f"invalid substring range. start: {start}, end: {until}")
    return text[start:until]


def _join_cost(parts: list[Any], separator: str = "") -> int:
    length = sum(map(size, parts)) + len(separator) * max(len(parts) - 1, 0)
    return -(-length * 2 // 10)


@function("list(string).join() -> string", "list(string).join(string) -> string", cost=_join_cost)
def _(budget: Budget, parts: list[Any], separator: str = "") -> str:
    if not all(isinstance(part, str) for part in parts):
        raise EvaluationError("no such overload")
    budget.room_for(sum(map(len, parts)) + len(separator) * len(parts))
    return separator.join(parts)


_QUOTED = {"\a": "\\a", "\b": "\\b", "\f": "\\f", "\n": "\\n", "\r": "\\r", "\t": "\\t", "\v": "\\v"}
_QUOTES = str.maketrans({**_QUOTED, "\\": "\\\\", '"': '\\"'})


@function(":strings.quote(string) -> string", cost=costs.traverse)
def _(budget: Budget, text: str) -> str:
    return f'"{text.translate(_QUOTES)}"'


@function(":jsonpatch.escapeKey(string) -> string", cost=costs.traverse)
def _(budget: Budget, key: str) -> str:
    """A key as a JSON pointer has it (RFC 6901); for JSON patches of mutating policies."""
    return key.replace("~", "~0").replace("/", "~1")
