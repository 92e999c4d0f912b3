"""The JSONPath that printer columns, scale and selectable fields are written in.

Fields, indexes, slices, wildcards, unions, recursive descent and filters that compare one path with a value. Source:
Kubernetes documentation, "JSONPath Support"; there is no scripting in it.
"""

from __future__ import annotations

import operator
import re
from collections.abc import Callable, Iterable, Iterator
from functools import lru_cache
from typing import Any, Final

_MOST: Final = 1000
"""Results after which a path is not followed further: a column shows the first."""

Step = Callable[[Any], Iterator[Any]]


class InvalidPath(ValueError):
    """The text is not a JSONPath; the message says what was found."""


_TOKEN: Final = re.compile(
    r"""(?P<descent>\.\.)
      | \.?\[(?P<bracket>\s*\?\((?P<filter>(?:[^()'"]|'[^']*'|"[^"]*")*)\)\s*|(?:[^\]'"?(]|'[^']*'|"[^"]*")*)\]
      | \.?(?P<wild>\*)
      | \.?(?P<field>(?:\\.|[^.\[\]\\'"(){}@$?*\s,])+)
      | (?P<root>[$@])""",
    re.VERBOSE,
)
_FILTER: Final = re.compile(r"\s*@(?P<path>[^=!<>\s]*)\s*(?:(?P<sign>==|!=|<=|>=|<|>)\s*(?P<value>.+?))?\s*")
_SIGNS: Final[dict[str, Callable[[Any, Any], bool]]] = {
    "==": operator.eq,
    "!=": operator.ne,
    "<=": operator.le,
    ">=": operator.ge,
    "<": operator.lt,
    ">": operator.gt,
}
_SLICE: Final = re.compile(r"(-?\d*):(-?\d*)(?::(-?\d*))?")


@lru_cache(maxsize=1024)
def parse_path(text: str) -> tuple[Step, ...]:
    """The steps of a path such as `.status.conditions[?(@.type=="Ready")].status`. Raises InvalidPath."""
    inner = text.strip()
    if inner.startswith("{") and inner.endswith("}"):
        inner = inner[1:-1]
    steps: list[Step] = []
    position = 0
    while position < len(inner):
        match = _TOKEN.match(inner, position)
        if match is None or match.end() == position:
            raise InvalidPath(f"unrecognized character in {text!r} at {inner[position:]!r}")
        if match["descent"]:
            steps.append(_descend)
        elif match["wild"]:
            steps.append(_children)
        elif match["field"] is not None:
            steps.append(_field(match["field"].replace("\\", "")))
        elif match["root"] is None:
            steps.append(_bracket(match["bracket"], match["filter"], text))
        position = match.end()
    return tuple(steps)


def find(text: str, tree: Any) -> list[Any]:
    """What a path leads to, in order; empty when there is nothing. Raises InvalidPath."""
    values: Iterable[Any] = [tree]
    for step in parse_path(text):
        found: list[Any] = []
        for value in values:
            for result in step(value):
                found.append(result)
                if len(found) == _MOST:
                    break
            if len(found) == _MOST:
                break
        values = found
    return list(values)


def simple_path(text: str) -> list[str] | None:
    """The field names of a path that is dots and fields only, such as `.spec.replicas`; None for any other."""
    if not text.startswith(".") or any(character in text for character in "[](){}*?@$'\" "):
        return None
    names = text[1:].split(".")
    return names if all(names) else None


def _field(name: str) -> Step:
    def step(value: Any) -> Iterator[Any]:
        if isinstance(value, dict) and name in value:
            yield value[name]

    return step


def _children(value: Any) -> Iterator[Any]:
    if isinstance(value, dict):
        yield from value.values()
    elif isinstance(value, list):
        yield from value


def _descend(value: Any) -> Iterator[Any]:
    pending = [value]
    while pending:
        found = pending.pop()
        yield found
        pending += reversed(list(_children(found)))


def _bracket(inside: str, condition: str | None, text: str) -> Step:
    if condition is not None:
        return _filter(condition, text)
    parts = [part.strip() for part in inside.split(",")]
    steps = [_selector(part, text) for part in parts]
    if len(steps) == 1:
        return steps[0]

    def union(value: Any) -> Iterator[Any]:
        for step in steps:
            yield from step(value)

    return union


def _selector(part: str, text: str) -> Step:
    if part == "*":
        return _children
    if len(part) >= 2 and part[0] == part[-1] and part[0] in "'\"":
        return _field(part[1:-1])
    span = _SLICE.fullmatch(part)
    if span is not None:
        first, last, step = (int(number) if number else None for number in span.groups())
        if step == 0:
            raise InvalidPath(f"step must be >= 1 in {text!r}")
        return lambda value: iter(value[first:last:step] if isinstance(value, list) else ())
    if re.fullmatch(r"-?\d{1,9}", part):
        return _index(int(part))
    raise InvalidPath(f"invalid array index {part!r} in {text!r}")


def _index(position: int) -> Step:
    def step(value: Any) -> Iterator[Any]:
        if isinstance(value, list) and -len(value) <= position < len(value):
            yield value[position]

    return step


def _filter(condition: str, text: str) -> Step:
    match = _FILTER.fullmatch(condition)
    if match is None:
        raise InvalidPath(f"unrecognized filter {condition!r} in {text!r}")
    path, sign = match["path"], match["sign"]
    parse_path(path)
    wanted = _literal(match["value"], text) if sign else None

    def holds(value: Any) -> bool:
        found = find(path, value)
        if not sign:
            return bool(found)
        try:
            return bool(found) and _SIGNS[sign](found[0], wanted)
        except TypeError:
            return False

    return lambda value: (item for item in _children(value) if holds(item))


def _literal(text: str, whole: str) -> Any:
    if len(text) >= 2 and text[0] == text[-1] and text[0] in "'\"":
        return text[1:-1]
    if text in ("true", "false"):
        return text == "true"
    try:
        return int(text) if re.fullmatch(r"-?\d{1,18}", text) else float(text)
    except ValueError:
        raise InvalidPath(f"unrecognized value {text!r} in {whole!r}") from None
