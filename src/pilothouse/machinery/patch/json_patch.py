"""JSON patch, RFC 6902, with JSON pointers, RFC 6901."""

from __future__ import annotations

import copy
from typing import Any

from pilothouse.machinery.errors import ApiError, BadRequest, Invalid
from pilothouse.machinery.objects import Obj

MAX_OPERATIONS = 10_000
"""As upstream limits it: a patch cannot be made to copy without end."""

_NEEDS_VALUE = frozenset(("add", "replace", "test"))
_NEEDS_FROM = frozenset(("move", "copy"))
_MISSING = object()


def json_patch(target: Obj, patch: Any) -> Obj:
    """The target with the operations carried out in order.

    Raises BadRequest for what is no JSON patch, Invalid for one that cannot be applied to this target.
    """
    if not isinstance(patch, list) or not all(isinstance(operation, dict) for operation in patch):
        raise BadRequest(
            'a JSON patch is a list of operations such as {"op": "replace", "path": "/spec/replicas", "value": 2}'
        )
    if len(patch) > MAX_OPERATIONS:
        raise BadRequest(f"the allowed maximum operations in a JSON patch is {MAX_OPERATIONS}, got {len(patch)}")
    document: Any = copy.deepcopy(target)
    for index, operation in enumerate(patch):
        document = _apply(document, operation, index)
    if not isinstance(document, dict):
        raise Invalid("the JSON patch leaves no object behind")
    return document


def _apply(document: Any, operation: dict[str, Any], index: int) -> Any:
    op = operation.get("op")
    path = _pointer(operation, "path", index)
    if op in _NEEDS_VALUE and "value" not in operation:
        raise BadRequest(f"operation {index} of the JSON patch ({op} {operation['path']}) lacks a value")
    if op == "add":
        return _add(document, path, copy.deepcopy(operation["value"]), index)
    if op == "remove":
        return _remove(document, path, index)
    if op == "replace":
        _get(document, path, index)
        return _replace(document, path, copy.deepcopy(operation["value"]))
    if op == "test":
        if not _same(_get(document, path, index), operation["value"]):
            raise _refused(index, f"testing value {operation['path']} failed")
        return document
    if op in _NEEDS_FROM:
        source = _pointer(operation, "from", index)
        value = _get(document, source, index)
        if op == "copy":
            return _add(document, path, copy.deepcopy(value), index)
        if path[: len(source)] == source and path != source:
            raise _refused(index, f"cannot move {operation['from']} into itself")
        return _add(_remove(document, source, index), path, value, index)
    raise BadRequest(
        f"operation {index} of the JSON patch: unexpected kind {op!r}; "
        "one of add, remove, replace, move, copy, test is needed"
    )


def _pointer(operation: dict[str, Any], name: str, index: int) -> list[str]:
    text = operation.get(name)
    if not isinstance(text, str) or (text and not text.startswith("/")):
        raise BadRequest(f"operation {index} of the JSON patch: {name!r} must be a JSON pointer such as /spec/replicas")
    return [part.replace("~1", "/").replace("~0", "~") for part in text.split("/")[1:]]


def _refused(index: int, why: str) -> ApiError:
    return Invalid(f"the server rejected our request due to an error in our request: operation {index}: {why}")


def _same(left: Any, right: Any) -> bool:
    """JSON equality: in Python True equals 1."""
    if isinstance(left, bool) is not isinstance(right, bool):
        return False
    if isinstance(left, dict) and isinstance(right, dict):
        return left.keys() == right.keys() and all(_same(value, right[name]) for name, value in left.items())
    if isinstance(left, list) and isinstance(right, list):
        return len(left) == len(right) and all(map(_same, left, right))
    return bool(left == right)


def _index(container: list[Any], part: str, index: int, *, end: bool = False) -> int:
    if end and part == "-":
        return len(container)
    if not part.isascii() or not part.isdigit() or (part != "0" and part.startswith("0")):
        raise _refused(index, f"{part!r} is no index of a list")
    position = int(part)
    if position >= len(container) + end:
        raise _refused(index, f"index {part} is out of range, the list has {len(container)} entries")
    return position


def _get(document: Any, path: list[str], index: int) -> Any:
    for part in path:
        if isinstance(document, list):
            document = document[_index(document, part, index)]
        else:
            document = document.get(part, _MISSING) if isinstance(document, dict) else _MISSING
        if document is _MISSING:
            raise _refused(index, f"doc is missing path: {_text(path)}: missing value")
    return document


def _text(path: list[str]) -> str:
    return "".join("/" + part.replace("~", "~0").replace("/", "~1") for part in path)


def _add(document: Any, path: list[str], value: Any, index: int) -> Any:
    if not path:
        return value
    parent, last = _get(document, path[:-1], index), path[-1]
    if isinstance(parent, list):
        parent.insert(_index(parent, last, index, end=True), value)
    elif isinstance(parent, dict):
        parent[last] = value
    else:
        raise _refused(index, f"{_text(path[:-1])} is neither an object nor a list")
    return document


def _remove(document: Any, path: list[str], index: int) -> Any:
    if not path:
        raise _refused(index, "the whole document cannot be removed")
    _get(document, path, index)
    parent, last = _get(document, path[:-1], index), path[-1]
    if isinstance(parent, list):
        del parent[int(last)]
    else:
        del parent[last]
    return document


def _replace(document: Any, path: list[str], value: Any) -> Any:
    if not path:
        return value
    parent, last = document, path[-1]
    for part in path[:-1]:
        parent = parent[int(part)] if isinstance(parent, list) else parent[part]
    parent[int(last) if isinstance(parent, list) else last] = value
    return document
