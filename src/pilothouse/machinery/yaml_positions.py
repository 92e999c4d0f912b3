"""Where the nodes of a YAML text lie, beyond what their marks say. Pure.

libyaml's marks count characters from 0, a byte order mark excepted. A block collection's end mark is where the next
token begins, comments passed over; a block scalar's is behind the empty lines that follow it; and an alias is the node
it stands for, with the marks of that.
"""

from __future__ import annotations

import re
from collections.abc import Iterable

import yaml

LINE_BREAK = re.compile(r"\r\n|[\r\n\x85\u2028\u2029]")
"""As libyaml counts lines."""


def is_alias(node: yaml.Node, parent: yaml.Node) -> bool:
    """Whether a child was written as an alias: what it stands for lies before its parent."""
    return bool(node.start_mark.index < parent.start_mark.index)


def own_pairs(node: yaml.MappingNode) -> list[tuple[yaml.Node, yaml.Node]]:
    """The pairs that are written in a mapping itself; constructing it puts those of merge keys (`<<`) in as well."""
    return [(key, value) for key, value in node.value if not is_alias(key, node)]


def first_line(node: yaml.Node) -> int:
    """The line of what a node holds, from 0; an anchor or tag may be on the line before."""
    pairs = own_pairs(node) if isinstance(node, yaml.MappingNode) else []
    return int(pairs[0][0].start_mark.line if pairs else node.start_mark.line)


def last_line(node: yaml.Node) -> int:
    """The last line with something of a node on it, from 0; empty lines at a block scalar's end count."""
    end = node.end_mark
    if isinstance(node, yaml.ScalarNode):
        return int(end.line - 1 if node.style in ("|", ">") and end.column == 0 else end.line)
    if not isinstance(node, yaml.CollectionNode) or node.flow_style:
        return int(end.line)
    if isinstance(node, yaml.MappingNode):
        pairs = own_pairs(node)
        if not pairs:
            return int(node.start_mark.line)
        key, value = pairs[-1]
        return int(key.end_mark.line) if is_alias(value, node) else max(last_line(value), int(key.end_mark.line))
    written = [child for child in node.value if not is_alias(child, node)]
    return last_line(written[-1]) if written else int(end.line)


def content_end(node: yaml.Node, text: str) -> int:
    """Behind the last character of a node. Raises ValueError where that is unknown: a list that ends in an alias, a
    mapping of nothing but merge keys."""
    end = int(node.end_mark.index)
    if isinstance(node, yaml.ScalarNode):
        if node.style in ("|", ">"):
            return int(node.start_mark.index) + len(text[node.start_mark.index : end].rstrip())
        return end
    if not isinstance(node, yaml.CollectionNode) or node.flow_style:
        return end
    if isinstance(node, yaml.MappingNode):
        pairs = own_pairs(node)
        if not pairs:
            raise ValueError("it holds nothing but a merge key (<<)")
        key, value = pairs[-1]
        return int(key.end_mark.index) if is_alias(value, node) else max(content_end(value, text), key.end_mark.index)
    if is_alias(node.value[-1], node):
        raise ValueError("it ends in an alias")
    return content_end(node.value[-1], text)


def shared(roots: Iterable[yaml.Node]) -> set[int]:
    """The identities of nodes that are written once and stand in several places."""
    seen: set[int] = set()
    several: set[int] = set()
    waiting = list(roots)
    while waiting:
        node = waiting.pop()
        if id(node) in seen:
            several.add(id(node))
            continue
        seen.add(id(node))
        for part in node.value if isinstance(node, yaml.CollectionNode) else ():
            waiting += part if isinstance(part, tuple) else (part,)
    return several
