"""Changes of a tree: something is added where nothing stands, a text is replaced, a key is renamed. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Any, NamedTuple

from pilothouse.machinery.objects import Obj

Path = tuple[str | int, ...]
"""Keys and indices from an object's root."""

_STEP = re.compile(r"\[(\d+)\]|([^.\[\]]+)")


class Add(NamedTuple):
    """A value where there is none, or null; parents that are missing are made."""

    path: Path
    value: Any


class Replace(NamedTuple):
    """Another text in the place of one."""

    path: Path
    value: str


class Rename(NamedTuple):
    """Another key for the same value."""

    path: Path
    key: str


Change = Add | Replace | Rename


def parse_path(field: str) -> Path:
    """`spec.containers[0].image` as steps."""
    return tuple(int(index) if index else name for index, name in _STEP.findall(field))


def at(tree: Any, path: Path) -> Any:
    """The value at a path, None where there is none."""
    for step in path:
        if isinstance(step, int):
            tree = tree[step] if isinstance(tree, list) and step < len(tree) else None
        else:
            tree = tree.get(step) if isinstance(tree, dict) else None
    return tree


def mapping_at(tree: Any, path: Path) -> Obj:
    """As `at`; empty where there is no mapping."""
    found = at(tree, path)
    return found if isinstance(found, dict) else {}


def changed(tree: Obj, changes: Iterable[Change]) -> Obj:
    """The tree with the changes, keys in the order of a file that was changed so; what is not changed is shared."""
    for change in changes:
        tree = _changed(tree, change.path, change)
    return tree


def _changed(tree: Any, path: Path, change: Change) -> Any:
    step, rest = path[0], path[1:]
    if isinstance(step, int):
        return [_changed(entry, rest, change) if index == step else entry for index, entry in enumerate(tree)]
    if not rest and isinstance(change, Rename):
        return {change.key if key == step else key: value for key, value in tree.items()}
    known = dict(tree) if isinstance(tree, dict) else {}
    if rest:
        known[step] = _changed(known.get(step), rest, change)
    elif not isinstance(change, Rename):
        known[step] = change.value
    return known
