"""Comments in manifests that accept findings: which objects and lines they are about."""

from __future__ import annotations

import re
from bisect import bisect_right
from collections.abc import Iterator, Sequence

import yaml

from pilothouse.guard.finding import Comment
from pilothouse.machinery.yaml_positions import LINE_BREAK, first_line, is_alias, last_line, own_pairs

MARK = "pilothouse:accept"
_COMMENT = re.compile(rf"(?:^|(?<=\s))#[ \t]*{MARK}(?:[ \t]+(?P<said>.*))?$")
_NO_CONTENT = re.compile(r"\s*(?:#.*|---\s*(?:#.*)?|\.\.\.\s*|%.*)?$")

_Place = tuple[int, int]
"""Line and column, from 0."""


def comments_of(text: str, documents: Sequence[yaml.Node | None]) -> Iterator[tuple[int, Comment]]:
    """The comments of a text, each with the number of the document (at least one) it is in; one with nothing below it
    is the last one's."""
    lines = LINE_BREAK.split(text)
    quoted = sorted(place for node in documents for place in _quoting(node))
    starts = [first_line(node) if node is not None else 0 for node in documents]
    for number, line in enumerate(lines):
        found = _COMMENT.search(line) if MARK in line else None
        if found is None or _within(quoted, (number, found.start())):
            continue
        own_line = not line[: found.start()].strip()
        target = _next_content(lines, number + 1) if own_line else number
        document = bisect_right(starts, target) - 1
        first, last = _meant(documents[document], target) if document >= 0 else (0, 0)
        yield (document if first else len(documents) - 1), Comment(found["said"] or "", number + 1, first, last)


def _next_content(lines: Sequence[str], start: int) -> int:
    return next((n for n in range(start, len(lines)) if not _NO_CONTENT.match(lines[n])), len(lines))


def _within(quoted: Sequence[tuple[_Place, _Place]], place: _Place) -> bool:
    before = bisect_right(quoted, place, key=lambda extent: extent[0])
    return before > 0 and place < quoted[before - 1][1]


def _meant(node: yaml.Node | None, target: int) -> tuple[int, int]:
    """The first and last line (from 1) of what begins at a line of a document, 0 when the line is behind it."""
    if node is None or last_line(node) < target:
        return 0, 0
    first, last = _begun_at(node, target, (first_line(node), last_line(node)))
    return first + 1, last + 1


def _begun_at(node: yaml.Node, target: int, extent: tuple[int, int]) -> tuple[int, int]:
    """The extent of the widest part that begins on the line, else of the innermost that holds it."""
    if extent[0] >= target:
        return extent
    for first, last, child in _parts(node):
        if last >= target:
            return _begun_at(child, target, (first, last))
    return extent


def _parts(node: yaml.Node) -> Iterator[tuple[int, int, yaml.Node]]:
    """First line, last line and node of each entry."""
    if isinstance(node, yaml.MappingNode):
        for key, value in own_pairs(node):
            last = key.end_mark.line if is_alias(value, node) else last_line(value)
            yield key.start_mark.line, max(last, key.end_mark.line), value
    elif isinstance(node, yaml.SequenceNode):
        for value in node.value:
            if not is_alias(value, node):
                yield first_line(value), last_line(value), value


def _quoting(node: yaml.Node | None) -> Iterator[tuple[_Place, _Place]]:
    """Where texts lie that hold the mark, which are no comments."""
    if isinstance(node, yaml.ScalarNode):
        if MARK in node.value:
            yield (node.start_mark.line, node.start_mark.column), (node.end_mark.line, node.end_mark.column)
    elif node is not None:
        for part in node.value:
            for child in part if isinstance(part, tuple) else (part,):
                yield from _quoting(child)
