"""YAML request bodies: one document, with the types JSON has (a date stays text)."""

from __future__ import annotations

from typing import Any

import yaml

from pilothouse.machinery.errors import BadRequest
from pilothouse.machinery.strict_json import Decoded

_TIMESTAMP = "tag:yaml.org,2002:timestamp"
_MAX_DEPTH = 100
_MAX_NODES = 500_000


class _Loader(yaml.CSafeLoader):
    """Without dates, and noting keys that were given twice."""

    duplicates: list[str]

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        seen: set[str] = set()
        for key, _ in node.value:
            if isinstance(key, yaml.ScalarNode):
                if key.value in seen:
                    self.duplicates.append(f"{key.value} (line {key.start_mark.line + 1})")
                seen.add(key.value)
        return super().construct_mapping(node, deep)


_Loader.yaml_implicit_resolvers = {
    first: [(tag, pattern) for tag, pattern in resolvers if tag != _TIMESTAMP]
    for first, resolvers in yaml.CSafeLoader.yaml_implicit_resolvers.items()
}


def decode_yaml(body: bytes) -> Decoded:
    """The document of a body. Raises BadRequest naming line and column, or a key that is not text."""
    try:
        _check_size(body)
        loader = _Loader(body)
        loader.duplicates = []
        try:
            value = loader.get_single_data()
        finally:
            loader.dispose()
    except yaml.YAMLError as error:
        raise BadRequest(f"the body is not YAML: {' '.join(str(error).split())}") from error
    _check_keys(value, "")
    return Decoded(value, tuple(loader.duplicates))


def _check_size(body: bytes) -> None:
    """Refuses what is nested too deeply, or grows too large by repeating its anchors.

    Read as events, without recursion: libyaml's tree builder overflows the stack of the process on deep nesting.
    """
    sizes: dict[str, int] = {}
    open_nodes: list[tuple[str | None, int]] = []
    count = 0
    for event in yaml.parse(body, Loader=yaml.CSafeLoader):
        if isinstance(event, yaml.CollectionStartEvent):
            count += 1
            open_nodes.append((event.anchor, count))
            if len(open_nodes) > _MAX_DEPTH:
                raise BadRequest(f"the body is not read: it is nested more than {_MAX_DEPTH} levels deep")
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
                raise BadRequest(f"the body is not read: the alias *{event.anchor} has no anchor before it")
            count += sizes[event.anchor]
        if count > _MAX_NODES:
            raise BadRequest(f"the body is not read: it has more than {_MAX_NODES} values, aliases written out")


def _check_keys(value: Any, path: str) -> None:
    if isinstance(value, dict):
        for key, child in value.items():
            if not isinstance(key, str):
                raise BadRequest(f"the body has a key that is not text: {key!r} in {path or 'the top level'}; quote it")
            _check_keys(child, f"{path}.{key}" if path else key)
    elif isinstance(value, list):
        for index, child in enumerate(value):
            _check_keys(child, f"{path}[{index}]")
