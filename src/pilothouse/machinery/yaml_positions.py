"""Where the nodes of a YAML text lie, beyond what their marks say. Pure.

libyaml's marks count characters from 0, a byte order mark excepted. A block collection's end mark is where the next
token begins, comments passed over; a block scalar's is behind the empty lines that follow it; and an alias is the node
it stands for, with the marks of that.
"""

from __future__ import annotations

import re

import yaml

LINE_BREAK = re.compile(r"\r\n|[\r\n\x85\u2028\u2029]")
"""As libyaml counts lines."""


def is_alias(node: yaml.Node, parent: yaml.Node) -> bool:
    """Whether a child was written as an alias: what it stands for lies before its parent."""
    return bool(node.start_mark.index < parent.start_mark.index)


def first_line(node: yaml.Node) -> int:
    """The line of what a node holds, from 0; an anchor or tag may be on the line before."""
    if isinstance(node, yaml.MappingNode) and node.value:
        return int(node.value[0][0].start_mark.line)
    return int(node.start_mark.line)


def last_line(node: yaml.Node) -> int:
    """The last line with something of a node on it, from 0; empty lines at a block scalar's end count."""
    end = node.end_mark
    if isinstance(node, yaml.ScalarNode):
        return int(end.line - 1 if node.style in ("|", ">") and end.column == 0 else end.line)
    if not isinstance(node, yaml.CollectionNode) or node.flow_style or not node.value:
        return int(end.line)
    if isinstance(node, yaml.MappingNode):
        key, value = node.value[-1]
        return int(key.end_mark.line) if is_alias(value, node) else max(last_line(value), int(key.end_mark.line))
    written = [child for child in node.value if not is_alias(child, node)]
    return last_line(written[-1]) if written else int(end.line)
