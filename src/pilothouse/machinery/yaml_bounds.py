"""Refuses YAML that is nested too deeply, or that grows too large by repeating its anchors.

libyaml's tree builder overflows the stack of the process on deep nesting, so a text is looked through as events first,
without recursion.
"""

from __future__ import annotations

import re

import yaml

_MAX_DEPTH = 100
_MAX_NODES = 500_000
_BRACKET = re.compile(r"[\[\]{}]")
_INDENTED = " " * _MAX_DEPTH
_DEEP_BLOCK = re.compile(r"(?:[-?:] +){20}")
_ANCHOR = re.compile(r"(?:^|[\s\[{,])&\S")


def check_suspect(text: str) -> None:
    """As `check_bounds`, which takes as long as reading the text, but only where bounds look as if broken."""
    if (
        ("&" in text and _ANCHOR.search(text))
        or _INDENTED in text
        or _DEEP_BLOCK.search(text)
        or _flow_depth(text) > _MAX_DEPTH // 2
    ):
        check_bounds(text)


def _flow_depth(text: str) -> int:
    """The deepest nesting of brackets, those in texts included; no more than there are, where that settles it."""
    most = text.count("[") + text.count("{")
    if most <= _MAX_DEPTH // 2:
        return most
    depth = deepest = 0
    for match in _BRACKET.finditer(text):
        depth += 1 if match[0] in "[{" else -1
        deepest = max(deepest, depth)
        depth = max(depth, 0)
    return deepest


def check_bounds(text: str | bytes) -> None:
    """Raises yaml.YAMLError, with the place, for a text that must not be built into a tree."""
    sizes: dict[str, int] = {}
    open_nodes: list[tuple[str | None, int]] = []
    count = 0
    for event in yaml.parse(text, Loader=yaml.CSafeLoader):
        if isinstance(event, yaml.CollectionStartEvent):
            count += 1
            open_nodes.append((event.anchor, count))
            if len(open_nodes) > _MAX_DEPTH:
                raise _refused(f"nested more than {_MAX_DEPTH} levels deep", event)
        elif isinstance(event, yaml.CollectionEndEvent):
            anchor, before = open_nodes.pop()
            if anchor is not None:
                sizes[anchor] = count - before + 1
        elif isinstance(event, yaml.ScalarEvent):
            count += 1
            if event.anchor is not None:
                sizes[event.anchor] = 1
        elif isinstance(event, yaml.AliasEvent):
            if event.anchor not in sizes:
                raise _refused(f"the alias *{event.anchor} has no anchor before it", event)
            count += sizes[event.anchor]
        if count > _MAX_NODES:
            raise _refused(f"more than {_MAX_NODES} values, aliases written out", event)


def _refused(why: str, event: yaml.Event) -> yaml.MarkedYAMLError:
    mark = event.start_mark
    place = yaml.Mark("", 0, mark.line, mark.column, None, 0) if mark else None
    return yaml.MarkedYAMLError(problem=why, problem_mark=place)
