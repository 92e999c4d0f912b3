"""Maven's order of versions. Source: Maven's POM reference, "Version Order Specification"."""

from __future__ import annotations

from functools import cmp_to_key
from typing import Any, Final

_QUALIFIERS: Final = ("alpha", "beta", "milestone", "rc", "snapshot", "", "sp")
_ALIASES: Final = {"cr": "rc", "ga": "", "final": "", "release": ""}
_SHORT: Final = {"a": "alpha", "b": "beta", "m": "milestone"}

Item = int | str | list[Any]


def maven_key(text: str) -> Any:
    """A sort key. Raises ValueError for an empty version."""
    if not text.strip():
        raise ValueError("an empty version")
    return _KEY(_parsed(text.strip().lower()))


def _parsed(text: str) -> list[Any]:
    """Nested lists: a hyphen, and a change between digits and letters, open a list inside."""
    root: list[Any] = []
    stack = [root]
    current = root
    start = 0
    digits = False
    for at, character in enumerate(text):
        if character in ".-":
            current.append(0 if at == start else _item(digits, text[start:at]))
            start = at + 1
            if character == "-":
                current = _opened(current, stack)
        elif character.isdigit():
            if not digits and at > start:
                if current:
                    current = _opened(current, stack)  # `.X1` is `-X1`
                current.append(_qualifier(text[start:at], followed=True))
                start = at
                current = _opened(current, stack)
            digits = True
        else:
            if digits and at > start:
                current.append(int(text[start:at]))
                start = at
                current = _opened(current, stack)
            digits = False
    if len(text) > start:
        if not digits and current:
            current = _opened(current, stack)
        current.append(_item(digits, text[start:]))
    for level in reversed(stack):
        _normalise(level)
    return root


def _opened(current: list[Any], stack: list[list[Any]]) -> list[Any]:
    inner: list[Any] = []
    current.append(inner)
    stack.append(inner)
    return inner


def _item(digits: bool, text: str) -> Item:
    return int(text) if digits else _qualifier(text, followed=False)


def _qualifier(text: str, *, followed: bool) -> str:
    if followed and text in _SHORT:
        text = _SHORT[text]
    return _ALIASES.get(text, text)


def _normalise(items: list[Any]) -> None:
    """Takes off what says nothing: 0, "" and empty lists at the end, and before a qualifier."""
    for at in reversed(range(len(items))):
        if items[at] in (0, "", []):
            following = items[at + 1] if at + 1 < len(items) else ""
            if not isinstance(following, int):
                del items[at]


def _rank(text: str) -> tuple[int, str]:
    return (_QUALIFIERS.index(text), "") if text in _QUALIFIERS else (len(_QUALIFIERS), text)


def _compare(a: Item | None, b: Item | None) -> int:
    if a is None:
        return 0 if b is None else -_compare(b, None)
    if isinstance(a, int):
        if b is None:
            return int(a != 0)
        return (a > b) - (a < b) if isinstance(b, int) else 1
    if isinstance(a, str):
        if b is None or isinstance(b, str):
            left, right = _rank(a), _rank(b or "")
            return (left > right) - (left < right)
        return -1
    if isinstance(b, int):
        return -1
    if isinstance(b, str):
        return 1
    return _compare_lists(a, b or [], short=b is None)


def _compare_lists(a: list[Any], b: list[Any], *, short: bool) -> int:
    for at in range(len(a) if short else max(len(a), len(b))):
        found = _compare(a[at] if at < len(a) else None, b[at] if at < len(b) else None)
        if found:
            return found
    return 0


_KEY: Final = cmp_to_key(_compare)
