"""YAML request bodies: one document, with the types JSON has (a date stays text)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import yaml

from pilothouse.machinery.errors import BadRequest
from pilothouse.machinery.strict_json import Decoded
from pilothouse.machinery.yaml_bounds import check_bounds

_TIMESTAMP = "tag:yaml.org,2002:timestamp"


class _Loader(yaml.CSafeLoader):
    """Without dates, and noting keys that were given twice."""

    duplicates: list[str]

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        seen: set[str] = set()
        for key, _ in node.value:
            if isinstance(key, yaml.ScalarNode):
                if key.value in seen:
                    self.duplicates.append(f'line {key.start_mark.line + 1}: key "{key.value}" already set in map')
                seen.add(key.value)
        return super().construct_mapping(node, deep)


def strictly(duplicates: Sequence[str]) -> str:
    """Keys that were given twice, as the library says it that upstream reads YAML with."""
    return "yaml: unmarshal errors:\n  " + "\n  ".join(duplicates)


_Loader.yaml_implicit_resolvers = {
    first: [(tag, pattern) for tag, pattern in resolvers if tag != _TIMESTAMP]
    for first, resolvers in yaml.CSafeLoader.yaml_implicit_resolvers.items()
}


def decode_yaml(body: bytes) -> Decoded:
    """The document of a body. Raises BadRequest naming line and column, or a key that is not text."""
    try:
        check_bounds(body)
        loader = _Loader(body)
        loader.duplicates = []
        try:
            value = loader.get_single_data()
        finally:
            loader.dispose()
    except yaml.YAMLError as error:
        raise BadRequest(f"the body is not read: {' '.join(str(error).split())}") from error
    _check_keys(value, "")
    return Decoded(value, tuple(loader.duplicates))


def _check_keys(value: Any, path: str) -> None:
    if isinstance(value, dict):
        for key, child in value.items():
            if not isinstance(key, str):
                raise BadRequest(f"the body has a key that is not text: {key!r} in {path or 'the top level'}; quote it")
            _check_keys(child, f"{path}.{key}" if path else key)
    elif isinstance(value, list):
        for index, child in enumerate(value):
            _check_keys(child, f"{path}[{index}]")
