"""Carries out changes in a text, at the places where the tree's values are written. Pure.

Nothing is written anew: what is added is put behind the last line of the mapping it belongs to, in its style, and all
other characters stay. What cannot be placed so is refused, by name.
"""

from __future__ import annotations

import json
import re
from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, NamedTuple

import yaml

from pilothouse.guard.fix.changes import Add, Change, Path, Rename, Replace
from pilothouse.machinery.objects import Obj
from pilothouse.machinery.yaml_positions import LINE_BREAK, content_end, is_alias, own_pairs

_STEP: Final = 2
"""Spaces by which a new mapping is indented where the text shows no other custom."""
_NULL: Final = "tag:yaml.org,2002:null"


_JSON: Final = re.compile(r"\s*[\[{]")


class CannotPlace(Exception):
    """Why a change cannot be made in the text."""


class Edit(NamedTuple):
    """Another text for the characters from `start` to `end`; of those at one place the deepest comes first."""

    start: int
    end: int
    text: str
    depth: int = 0


@dataclass(slots=True)
class _Place:
    """Where keys are added: to a mapping, or to a key without a value."""

    node: yaml.Node
    key: yaml.Node | None
    parent: yaml.Node | None
    added: Obj = field(default_factory=dict)


def edits_of(text: str, root: yaml.Node, changes: Iterable[Change], several: Collection[int]) -> list[Edit]:
    """The edits that make changes in one object; `several` are nodes that stand in several places. Raises
    CannotPlace."""
    quoted = _JSON.match(text) is not None
    places: dict[int, _Place] = {}
    edits: list[Edit] = []
    for change in changes:
        walk = _Walk(several)
        if isinstance(change, Add):
            place, rest = walk.to_gap(root, change.path)
            _nest(places.setdefault(id(place.node), place).added, rest, change.value)
        elif isinstance(change, Replace):
            edits.append(_replaced(text, walk.to(root, change.path)[1], change.value))
        else:
            edits.append(_replaced(text, _key(walk, root, change), change.key))
    return edits + [_insertion(text, place, quoted, _custom(place.node, root)) for place in places.values()]


def carried_out(text: str, edits: Iterable[Edit]) -> str:
    """The text with the edits made."""
    pieces: list[str] = []
    at = 0
    for edit in sorted(edits, key=lambda edit: (edit.start, -edit.depth)):
        pieces += text[at : edit.start], edit.text
        at = edit.end
    return "".join((*pieces, text[at:]))


class _Walk:
    """Follows a path through nodes, and refuses what is not written at the place itself."""

    def __init__(self, several: Collection[int]) -> None:
        self._several = several

    def to(self, root: yaml.Node, path: Path) -> tuple[yaml.Node | None, yaml.Node]:
        """The key and the value at a path."""
        key, node = None, root
        for step in path:
            found = self._step(node, step)
            if found is None:
                raise CannotPlace(f"there is no {step} in the text")
            key, node = found
        return key, node

    def to_gap(self, root: yaml.Node, path: Path) -> tuple[_Place, Path]:
        """The place where a path ends that goes on in the tree no further, and the rest of it."""
        self._look_at(root, None)
        key, parent, node = None, None, root
        for number, step in enumerate(path):
            if isinstance(node, yaml.ScalarNode) and node.tag == _NULL:
                return _Place(node, key, parent), path[number:]
            found = self._step(node, step)
            if found is None:
                return _Place(node, None, None), path[number:]
            parent = node
            key, node = found
        if isinstance(node, yaml.ScalarNode) and node.tag == _NULL:
            raise CannotPlace(f"{path[-1]} is written without a value")
        raise CannotPlace(f"{path[-1]} is already written")

    def _step(self, node: yaml.Node, step: str | int) -> tuple[yaml.Node | None, yaml.Node] | None:
        if isinstance(node, yaml.SequenceNode) and isinstance(step, int) and step < len(node.value):
            self._look_at(node.value[step], node)
            return None, node.value[step]
        if not isinstance(node, yaml.MappingNode) or isinstance(step, int):
            raise CannotPlace(f"there is no {step} in the text")
        for key, value in own_pairs(node):
            if key.value == step:
                self._look_at(value, node)
                return key, value
        if any(key.value == step for key, _ in node.value):
            raise CannotPlace(f"{step} comes from a merge key (<<)")
        return None

    def _look_at(self, node: yaml.Node, parent: yaml.Node | None) -> None:
        if id(node) in self._several or (parent is not None and is_alias(node, parent)):
            raise CannotPlace("it is written once for several places, by an anchor (&)")


def _key(walk: _Walk, root: yaml.Node, change: Rename) -> yaml.Node:
    key, _ = walk.to(root, change.path)
    if key is None:
        raise CannotPlace("an entry of a list has no name")
    return key


def _nest(added: Obj, path: Path, value: Any) -> None:
    """Puts a value into what is added, under what others added."""
    for step in path[:-1]:
        added = added.setdefault(str(step), {})
    added[str(path[-1])] = dict(value) if isinstance(value, dict) else value


def _replaced(text: str, node: yaml.Node, value: str) -> Edit:
    start, end = node.start_mark.index, node.end_mark.index
    if not isinstance(node, yaml.ScalarNode) or node.style not in (None, "", "'", '"'):
        raise CannotPlace("it is written as a block of text")
    written = text[start:end]
    quote = node.style or ""
    if written != f"{quote}{node.value}{quote}":
        raise CannotPlace("it is written in another way than as plain text")
    return Edit(start, end, f"{quote}{value}{quote}")


def _custom(node: yaml.Node, root: yaml.Node) -> int:
    """By how many spaces mappings are indented in a mapping, or else at the top of its object."""
    for holder in (node, root):
        for key, value in own_pairs(holder) if isinstance(holder, yaml.MappingNode) else ():
            if isinstance(value, yaml.MappingNode) and not value.flow_style and own_pairs(value):
                return max(int(own_pairs(value)[0][0].start_mark.column) - int(key.start_mark.column), 1)
    return _STEP


def _insertion(text: str, place: _Place, quoted: bool, step: int) -> Edit:
    node = place.node
    if place.key is not None and place.parent is not None:
        return _filled(text, place, quoted, step)
    if not isinstance(node, yaml.MappingNode):
        raise CannotPlace("there is another value than fields")
    return (
        _into_flow(text, node, place.added, quoted) if node.flow_style else _into_block(text, node, place.added, step)
    )


def _into_block(text: str, node: yaml.MappingNode, added: Obj, step: int) -> Edit:
    try:
        at = _line_end(text, content_end(node, text))
    except ValueError as error:
        raise CannotPlace(str(error)) from error
    column = int(own_pairs(node)[0][0].start_mark.column)
    lines = [" " * column + line for line in _block(added, step)]
    newline = _newline(text, at)
    return Edit(at, at, "".join(newline + line for line in lines), column)


def _into_flow(text: str, node: yaml.MappingNode, added: Obj, quoted: bool) -> Edit:
    if not node.value:
        opening = text.index("{", node.start_mark.index) + 1
        return Edit(opening, opening, _flow(added, quoted)[1:-1])
    key, value = node.value[-1]
    quoted = quoted or key.style == '"'
    if is_alias(key, node) or is_alias(value, node):
        raise CannotPlace("it ends in an alias")
    at = max(content_end(value, text), int(key.end_mark.index))
    before = text[_line_start(text, key.start_mark.index) : key.start_mark.index]
    gap = _newline(text, _line_end(text, at)) + before if before.isspace() else " "
    entries = [f",{gap}{_name(name, quoted)}: {_flow(value, quoted)}" for name, value in added.items()]
    return Edit(at, at, "".join(entries), -1)


def _filled(text: str, place: _Place, quoted: bool, step: int) -> Edit:
    """Fields for a key that was written without a value, or with null."""
    node, key = place.node, place.key
    assert key is not None
    start, end = int(node.start_mark.index), int(node.end_mark.index)
    if start < end:
        return Edit(start, end, _flow(place.added, quoted))
    in_flow = isinstance(place.parent, yaml.CollectionNode) and place.parent.flow_style
    if in_flow or text[key.end_mark.index : key.end_mark.index + 1] != ":":
        raise CannotPlace("it is written without a value")
    at = _line_end(text, start)
    column = int(key.start_mark.column) + step
    lines = [" " * column + line for line in _block(place.added, step)]
    return Edit(at, at, "".join(_newline(text, at) + line for line in lines), column)


def _block(added: Obj, step: int) -> Iterator[str]:
    for key, value in added.items():
        if isinstance(value, dict):
            yield f"{key}:"
            yield from (" " * step + line for line in _block(value, step))
        else:
            yield f"{key}: {_flow(value, False)}"


def _flow(value: Any, quoted: bool) -> str:
    if isinstance(value, dict):
        return "{" + ", ".join(f"{_name(key, quoted)}: {_flow(entry, quoted)}" for key, entry in value.items()) + "}"
    if isinstance(value, Sequence) and not isinstance(value, str):
        return "[" + ", ".join(_flow(entry, quoted) for entry in value) + "]"
    return value if isinstance(value, str) and not quoted else json.dumps(value)


def _name(key: str, quoted: bool) -> str:
    return json.dumps(key) if quoted else key


def _line_start(text: str, index: int) -> int:
    while index and not LINE_BREAK.match(text[index - 1]):
        index -= 1
    return index


def _line_end(text: str, index: int) -> int:
    found = LINE_BREAK.search(text, index)
    return found.start() if found else len(text)


def _newline(text: str, index: int) -> str:
    """The line break the text uses, at this place or else first."""
    found = LINE_BREAK.match(text, index) or LINE_BREAK.search(text)
    return found[0] if found else "\n"
