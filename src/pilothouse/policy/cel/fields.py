"""Selecting from maps, objects, lists and optional values."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

from pilothouse.policy.cel.errors import EvaluationError
from pilothouse.policy.cel.values import NONE, Opaque, Optional, UInt, map_key, no_such_overload

_ESCAPES = {"__underscores__": "__", "__dot__": ".", "__dash__": "-", "__slash__": "/"}
_ESCAPED = re.compile("|".join(_ESCAPES))
_KEYWORDS = """true false null in as break const continue else for function if import let loop package namespace
return var void while"""
KEYWORDS = frozenset(_KEYWORDS.split())


def escape(name: str) -> str:
    """A property's name as expressions write it, "" when they cannot. Source: Kubernetes documentation, CRD rules."""
    if name in KEYWORDS:
        return f"__{name}__"
    if not re.fullmatch(r"[A-Za-z_./-][A-Za-z0-9_./-]*", name):
        return ""
    return re.sub(r"__|\.|-|/", lambda found: {v: k for k, v in _ESCAPES.items()}[found[0]], name)


def unescape(name: str) -> str:
    """The property that an escaped name means."""
    if name.startswith("__") and name.endswith("__") and name[2:-2] in KEYWORDS:
        return name[2:-2]
    return _ESCAPED.sub(lambda found: _ESCAPES[found[0]], name)


class Missing(EvaluationError):
    """What was looked for is not there."""


class Struct(dict[str, Any]):
    """An object made by an expression, with its type's name."""

    __slots__ = ("type",)

    def __init__(self, type_name: str, entries: dict[str, Any]) -> None:
        super().__init__(entries)
        self.type = type_name


def struct(name: str, entries: dict[str, Any]) -> Any:
    """The value of `Name{field: value}`; a wrapper is what it wraps."""
    if name.startswith("google.protobuf.") and name.endswith("Value"):
        return entries.get("value")
    return Struct(name, {unescape(key): value for key, value in entries.items()})


def select(target: Any, name: str) -> Any:
    """`target.name`. Raises EvaluationError."""
    if isinstance(target, dict):
        try:
            return target[name]
        except KeyError:
            pass
        if "__" in name and (plain := unescape(name)) in target:
            return target[plain]
        raise Missing(f"no such key: {name}")
    if type(target) is Optional:
        return optionally(select, target, name)
    raise no_such_overload()


def has(target: Any, name: str) -> bool:
    """`has(target.name)`. Raises EvaluationError for what has no fields."""
    if isinstance(target, dict):
        return name in target or ("__" in name and unescape(name) in target)
    if type(target) is Optional:
        return target.present and has(target.value, name)
    raise no_such_overload()


def index(target: Any, key: Any) -> Any:
    """`target[key]`. Raises EvaluationError."""
    if isinstance(target, dict):
        try:
            return target[map_key(key)]
        except KeyError:
            raise Missing(f"no such key: {key}") from None
    if isinstance(target, list):
        if type(key) is float and key.is_integer():
            key = int(key)
        if type(key) is not int and type(key) is not UInt:
            raise EvaluationError(f"unsupported index type '{type(key).__name__}' in list")
        if not 0 <= key < len(target):
            raise Missing(f"index out of bounds: {key}")
        return target[key]
    if type(target) is Optional:
        return optionally(index, target, key)
    raise no_such_overload()


def optionally(look: Callable[[Any, Any], Any], target: Any, key: Any) -> Optional:
    """`target.?key`, `target[?key]`: none for what is missing, an error for what cannot be looked into."""
    if type(target) is Optional:
        if not target.present:
            return NONE
        target = target.value
    if not isinstance(target, (dict, list)) or isinstance(target, Opaque):
        raise no_such_overload()
    try:
        found = look(target, key)
    except Missing:
        return NONE
    return found if type(found) is Optional else Optional(found, True)
