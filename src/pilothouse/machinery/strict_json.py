"""JSON request bodies, with fields given twice found and named."""

from __future__ import annotations

import json
from typing import Any, NamedTuple

import orjson

from pilothouse.machinery.errors import BadRequest


class Decoded(NamedTuple):
    """The value, and what there is to say of fields that were given more than once (the last one counts): of JSON with
    their paths, of YAML with their lines, as upstream has it."""

    value: Any
    duplicates: tuple[str, ...] = ()


def decode_json(body: bytes) -> Any:
    """The value of a body. Raises BadRequest naming line and column."""
    try:
        return orjson.loads(body)
    except orjson.JSONDecodeError as error:
        raise BadRequest(f"the body is not JSON: {error}") from error


def strict_json(body: bytes, *, duplicates: bool = True) -> Decoded:
    """Decodes a body and, if asked to, reports duplicate fields. Raises BadRequest naming line and column."""
    value = decode_json(body)
    # A body that is written the way it would be written again cannot hold a field twice. Go ends it with a newline.
    if not duplicates or orjson.dumps(value) == body.rstrip():
        return Decoded(value)
    found: list[tuple[dict[str, Any], list[str]]] = []

    def collect(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        tree = dict(pairs)
        if len(tree) != len(pairs):
            names = [name for name, _ in pairs]
            found.append((tree, sorted({name for name in names if names.count(name) > 1})))
        return tree

    try:
        value = json.loads(body, object_pairs_hook=collect)
    except RecursionError as error:
        raise BadRequest("the body is nested too deeply") from error
    if not found:
        return Decoded(value)
    twice = {id(tree): names for tree, names in found}
    return Decoded(value, tuple(f'duplicate field "{path}"' for path in _paths(value, twice)))


def _paths(value: Any, twice: dict[int, list[str]]) -> list[str]:
    paths: list[str] = []
    stack: list[tuple[str, Any]] = [("", value)]
    while stack:
        path, node = stack.pop()
        if isinstance(node, dict):
            prefix = f"{path}." if path else ""
            paths += [prefix + name for name in twice.get(id(node), ())]
            stack += [(prefix + name, child) for name, child in reversed(node.items())]
        elif isinstance(node, list):
            stack += [(f"{path}[{index}]", child) for index, child in reversed(list(enumerate(node)))]
    return paths
