"""Merging what is applied into what is there, taking away what is no longer applied, and comparing the two."""

from __future__ import annotations

from typing import Any, NamedTuple

from pilothouse.machinery.apply.fields import (
    FieldSet,
    child,
    elements,
    field_set,
    is_granular,
    is_member,
    value_set,
)
from pilothouse.machinery.objects import Obj
from pilothouse.machinery.schema import Node


def merge(node: Node, live: Any, applied: Any) -> Any:
    """The live value with the applied one merged in; neither is changed, the result shares parts with both."""
    if not (is_granular(node, applied) and is_granular(node, live)) or live == applied:
        return applied
    if node.type == "array":
        return _merge_lists(node, live, applied)
    result = dict(live)
    for name, value in applied.items():
        result[name] = merge(child(node, name), live[name], value) if name in live else value
    return result


def _merge_lists(node: Node, live: list[Any], applied: list[Any]) -> list[Any]:
    """Applied entries in the order they are applied; those only in the live list stay before the entry they
    stood before."""
    theirs = elements(node, applied)
    ours = elements(node, live)
    if ours is None or theirs is None:
        return applied
    by_identity = dict(zip(ours, live))
    wanted = set(theirs)
    rest = list(ours)
    result: list[Any] = []
    for identity, value in zip(theirs, applied):
        if identity not in by_identity:
            result.append(value)
            continue
        if identity in rest:
            position = rest.index(identity)
            result += [by_identity[other] for other in rest[:position] if other not in wanted]
            rest = rest[position + 1 :]
        result.append(merge(node.items, by_identity[identity], value))
    return result + [by_identity[identity] for identity in rest if identity not in wanted]


def remove_unowned(node: Node, value: Any, last: FieldSet, keep: list[FieldSet]) -> Any:
    """The value without the fields in `last` that no set in `keep` holds, nor anything below them."""
    if node.type == "array":
        return _remove_entries(node, value, last, keep)
    result: Obj | None = None
    for key, inner in last.items():
        name = key[2:]
        if key == "." or name not in value:
            continue
        kept = [fields[key] for fields in keep if key in fields]
        shape = child(node, name)
        if not kept:
            result = dict(value) if result is None else result
            del result[name]
        elif inner and is_granular(shape, value[name]):
            replaced = remove_unowned(shape, value[name], inner, kept)
            if replaced is not value[name]:
                result = dict(value) if result is None else result
                result[name] = replaced
    return value if result is None else result


def _remove_entries(node: Node, value: list[Any], last: FieldSet, keep: list[FieldSet]) -> list[Any]:
    identities = elements(node, value)
    if identities is None:
        return value
    result: list[Any] = []
    changed = False
    for identity, item in zip(identities, value):
        inner = last.get(identity)
        if inner is None:
            result.append(item)
            continue
        kept = [fields[identity] for fields in keep if identity in fields]
        if not kept and is_member(inner):
            changed = True
            continue
        replaced = remove_unowned(node.items, item, inner, kept) if is_granular(node.items, item) else item
        changed = changed or replaced is not item
        result.append(replaced)
    return result if changed else value


class Difference(NamedTuple):
    """`changed` fields were added or have another value; `removed` ones are gone, with all below them."""

    changed: FieldSet
    removed: FieldSet

    @property
    def empty(self) -> bool:
        return not self.changed and not self.removed


def compare(node: Node, old: Obj, new: Obj) -> Difference:
    """The fields in which two objects differ."""
    changed: FieldSet = {}
    removed: FieldSet = {}
    for name, value in new.items():
        key = "f:" + name
        shape = child(node, name)
        if name not in old:
            added = value_set(shape, value, True, False)
            if added is not None:
                changed[key] = added
        elif (before := old[name]) != value:
            _note(shape, key, before, value, changed, removed)
    for name in old:
        if name not in new:
            removed["f:" + name] = {}
    return Difference(changed, removed)


def _note(node: Node, key: str, old: Any, new: Any, changed: FieldSet, removed: FieldSet) -> None:
    """Compares two different values of one field or entry and files what differs under `key`."""
    inner = _compare_granular(node, old, new)
    if inner is None:
        changed[key] = {}
        return
    if inner.changed:
        changed[key] = inner.changed
    if inner.removed:
        removed[key] = inner.removed


def _compare_granular(node: Node, old: Any, new: Any) -> Difference | None:
    """None when the value counts as a whole."""
    if not (is_granular(node, old) and is_granular(node, new)):
        return None
    if node.type != "array":
        return compare(node, old, new)
    before, after = elements(node, old), elements(node, new)
    if before is None or after is None:
        return None
    changed: FieldSet = {}
    removed: FieldSet = {}
    previous = dict(zip(before, old))
    for identity, item in zip(after, new):
        if identity not in previous:
            inner = field_set(node.items, item, containers=True) if is_granular(node.items, item) else {}
            changed[identity] = {".": {}, **inner} if inner else {}
        elif previous[identity] != item:
            _note(node.items, identity, previous[identity], item, changed, removed)
    kept = set(after)
    for identity in before:
        if identity not in kept:
            removed[identity] = {}
    return Difference(changed, removed)
