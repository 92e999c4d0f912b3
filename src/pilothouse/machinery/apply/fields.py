"""Sets of fields: made from an object by its schema, and the arithmetic on them."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, TypeAlias

import orjson

from pilothouse.machinery.objects import Obj
from pilothouse.machinery.schema import Node

FieldSet: TypeAlias = dict[str, Any]
"""A node of a set of fields, as in `fieldsV1`; at the root `{}` is the empty set."""

_ANY = Node("any")


def child(node: Node, name: str) -> Node:
    """The shape of a field of an object or of a value of a map."""
    if node.type == "object":
        return node.properties.get(name) or node.rest or _ANY
    return node.items if node.type == "map" else _ANY


def is_granular(node: Node, value: Any) -> bool:
    """Whether the fields or entries of the value are owned one by one, not as a whole."""
    if node.type in ("object", "map"):
        return not node.atomic and isinstance(value, dict)
    return node.type == "array" and node.list_type != "atomic" and isinstance(value, list)


def elements(node: Node, values: list[Any]) -> list[str] | None:
    """The identity of each entry of a set or keyed list; None when an entry has none or two have the same."""
    found: list[str] = []
    for value in values:
        identity = _identity(node, value)
        if identity is None:
            return None
        found.append(identity)
    return found if len(found) < 2 or len(set(found)) == len(found) else None


def _identity(node: Node, value: Any) -> str | None:
    """Of an entry with several keys some may be left out, but not all. Source: structured-merge-diff, version 6."""
    if node.list_type == "set":
        return "v:" + orjson.dumps(value).decode()
    if not isinstance(value, dict):
        return None
    parts: dict[str, Any] = {}
    for key in node.list_map_keys:
        part = value.get(key)
        if part is None:
            part = node.items.properties[key].default
        if part is not None:
            parts[key] = part
    if not parts:
        return None
    if len(parts) == 1:
        ((key, part),) = parts.items()
        return f'k:{{"{key}":{orjson.dumps(part).decode()}}}'
    return "k:" + orjson.dumps(parts, option=orjson.OPT_SORT_KEYS).decode()


class IndistinctEntries(ValueError):
    """Entries of a set or keyed list lack their keys, or two are the same."""


def indistinct_list(node: Node, value: Any, path: str = "") -> str:
    """Where the list is that `IndistinctEntries` was raised for, and what is wrong with it; "" if there is none."""
    if not is_granular(node, value):
        return ""
    if node.type != "array":
        found = (indistinct_list(child(node, name), item, f"{path}.{name}") for name, item in value.items())
        return next(filter(None, found), "")
    if elements(node, value) is None:
        return f"{path}: {indistinct(node, value)}"
    found = (indistinct_list(node.items, item, f"{path}[{index}]") for index, item in enumerate(value))
    return next(filter(None, found), "")


def indistinct(node: Node, values: list[Any]) -> str:
    """What keeps the entries of a set or keyed list from being told apart, in upstream's words; "" if nothing."""
    seen: set[str] = set()
    for index, value in enumerate(values):
        identity = _identity(node, value)
        if identity is None:
            keys = " ".join(orjson.dumps(key).decode() for key in node.list_map_keys)
            return (
                f"element {index}: associative list with keys has an element that omits all key fields [{keys}]"
                " (and doesn't have default values for any key fields)"
            )
        if identity in seen:
            return f"duplicate entries for key {path_text((identity,))}"
        seen.add(identity)
    return ""


def field_set(node: Node, value: Obj, *, containers: bool = False, strict: bool = False) -> FieldSet:
    """The fields a value holds whose node is an object or a map.

    `containers` puts maps themselves in the set (an update that added a map owns it), `strict` raises
    IndistinctEntries for lists whose entries cannot be told apart, which else are owned as a whole.
    """
    found: FieldSet = {}
    properties = node.properties if node.type == "object" else None
    for name, item in value.items():
        kind = type(item)
        if kind is dict or kind is list:
            shape = node.items if properties is None else properties.get(name) or node.rest or _ANY
            inner = value_set(shape, item, containers, strict)
            if inner is not None:
                found["f:" + name] = inner
        else:
            found["f:" + name] = {}
    return found


def value_set(node: Node, value: Any, containers: bool, strict: bool) -> FieldSet | None:
    """The fields within a value, `{}` for a leaf, None when there is nothing to own (an empty list)."""
    if not is_granular(node, value):
        return {}
    if node.type != "array":
        if not value:
            return {}
        found = field_set(node, value, containers=containers, strict=strict)
        if containers and node.type == "map":
            found = {".": {}, **found}
        return found or None
    identities = elements(node, value)
    if identities is None:
        if strict:
            raise IndistinctEntries
        return {}
    result: FieldSet = {}
    items = node.items
    for identity, item in zip(identities, value):
        inner = field_set(items, item, containers=containers, strict=strict) if is_granular(items, item) else {}
        result[identity] = {".": {}, **inner} if inner else {}
    return result or None


def is_member(node: FieldSet) -> bool:
    """Whether a node below the root itself belongs to its set."""
    return not node or "." in node


def union(left: FieldSet, right: FieldSet) -> FieldSet:
    """The fields in either of two sets (roots)."""
    if not left or not right:
        return left or right
    return _union(left, right)


def _union(left: FieldSet, right: FieldSet) -> FieldSet:
    if not left or not right:
        other = left or right
        return other if is_member(other) else {".": {}, **other}
    result = dict(left)
    for key, inner in right.items():
        result[key] = _union(result[key], inner) if key in result else inner
    return result


def difference(left: FieldSet, right: FieldSet) -> FieldSet:
    """The fields of the first set that are not in the second (roots)."""
    return (_difference(left, right, recursive=False) or {}) if left and right else left


def without(left: FieldSet, right: FieldSet) -> FieldSet:
    """The first set without the fields of the second and all that is below them (roots)."""
    return (_difference(left, right, recursive=True) or {}) if left and right else left


def _difference(left: FieldSet, right: FieldSet, *, recursive: bool) -> FieldSet | None:
    result: FieldSet = {}
    for key, inner in left.items():
        if key == ".":
            continue
        other = right.get(key)
        if other is None:
            result[key] = inner
        elif not (recursive and is_member(other)):
            rest = _difference(inner, other, recursive=recursive)
            if rest is not None:
                result[key] = rest
    keeps = is_member(left) and not is_member(right)
    if result:
        return {".": {}, **result} if keeps else result
    return {} if keeps else None


def intersection(left: FieldSet, right: FieldSet) -> FieldSet:
    """The fields in both sets (roots)."""
    return (_intersection(left, right) or {}) if left and right else {}


def _intersection(left: FieldSet, right: FieldSet) -> FieldSet | None:
    result: FieldSet = {}
    for key, inner in left.items():
        other = right.get(key)
        if other is not None and key != ".":
            shared = _intersection(inner, other)
            if shared is not None:
                result[key] = shared
    both = is_member(left) and is_member(right)
    if result:
        return {".": {}, **result} if both else result
    return {} if both else None


def paths(fields: FieldSet) -> Iterator[tuple[str, ...]]:
    """The members of a set (a root), as tuples of keys."""
    for key, inner in fields.items():
        if key == ".":
            continue
        if is_member(inner):
            yield (key,)
        for rest in paths(inner):
            yield (key, *rest)


def path_text(path: tuple[str, ...]) -> str:
    """A path as conflicts name it: `.spec.containers[name="web"].image`."""
    text = ""
    for key in path:
        kind, value = key[0], key[2:]
        if kind == "f":
            text += "." + value
        elif kind == "k":
            parts = orjson.loads(value)
            text += "[" + ",".join(f"{name}={orjson.dumps(part).decode()}" for name, part in parts.items()) + "]"
        elif kind == "v":
            text += f"[={value}]"
        else:
            text += f"[{value}]"
    return text
