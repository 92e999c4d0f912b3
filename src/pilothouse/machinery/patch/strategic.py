"""Strategic merge patch: lists merge by the keys that the schema gives, directives in the patch do the rest.

Source: the Kubernetes documentation of strategic merge patch and `k8s.io/apimachinery/pkg/util/strategicpatch`.
Directives: `$patch: replace|delete|merge`, `$retainKeys`, `$deleteFromPrimitiveList/FIELD`,
`$setElementOrder/FIELD`.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

from pilothouse.machinery.errors import BadRequest
from pilothouse.machinery.objects import Obj
from pilothouse.machinery.schema import Node, Schema

_PATCH: Final = "$patch"
_RETAIN_KEYS: Final = "$retainKeys"
_DELETE_PRIMITIVES: Final = "$deleteFromPrimitiveList/"
_ELEMENT_ORDER: Final = "$setElementOrder/"


def strategic_merge_patch(target: Obj, patch: Any, schema: Schema) -> Obj:
    """The target with the patch merged in. Raises BadRequest for a directive that makes no sense."""
    if not isinstance(patch, dict):
        raise BadRequest("a strategic merge patch is a JSON object with the fields to change")
    return _merge_map(target, patch, schema.root, "")


def _merge_map(target: Obj, patch: Obj, node: Node | None, path: str) -> Obj:
    directive = patch.get(_PATCH)
    if directive == "replace":
        return {name: value for name, value in patch.items() if name != _PATCH}
    if directive == "delete":
        return {}
    if directive not in (None, "merge"):
        raise BadRequest(f"{path or 'the patch'}: unknown $patch directive {directive!r}; use replace, merge or delete")
    result = dict(target)
    _retain(result, patch, path)
    for name, value in patch.items():
        if name.startswith("$"):
            _delete_primitives(result, name, value)
        elif value is None:
            result.pop(name, None)
        else:
            result[name] = _merge_field(result.get(name), value, _child(node, name), f"{path}.{name}" if path else name)
    # Order last: it arranges what merging left, also for lists of which nothing else changed.
    for name, order in patch.items():
        if name.startswith(_ELEMENT_ORDER):
            field = name.removeprefix(_ELEMENT_ORDER)
            _set_order(result, field, order, patch.get(field), target.get(field), _child(node, field))
    return result


def _child(node: Node | None, name: str) -> Node | None:
    if node is None:
        return None
    if node.type == "object":
        return node.properties.get(name)
    return node.items if node.type == "map" else None


def _merge_field(current: Any, value: Any, node: Node | None, path: str) -> Any:
    if isinstance(value, dict):
        return _merge_map(current if isinstance(current, dict) else {}, value, node, path)
    if isinstance(value, list) and node is not None and "merge" in node.patch_strategy:
        existing = current if isinstance(current, list) else []
        if node.merge_key:
            return _merge_objects(existing, value, node, path)
        given = _unique(value)
        return _interleaved([entry for entry in existing if entry not in given], given, existing)
    return value


def _unique(values: Sequence[Any]) -> list[Any]:
    found: list[Any] = []
    for value in values:
        if value not in found:
            found.append(value)
    return found


def _retain(result: Obj, patch: Obj, path: str) -> None:
    keys = patch.get(_RETAIN_KEYS)
    if keys is None:
        return
    missing = [
        name for name, value in patch.items() if not name.startswith("$") and value is not None and name not in keys
    ]
    if not isinstance(keys, list) or missing:
        raise BadRequest(f"{path or 'the patch'}: $retainKeys must list every field the patch sets; missing: {missing}")
    for name in [name for name in result if name not in keys]:
        del result[name]


def _delete_primitives(result: Obj, directive: str, values: Any) -> None:
    if directive.startswith(_DELETE_PRIMITIVES):
        name = directive.removeprefix(_DELETE_PRIMITIVES)
        current = result.get(name)
        if isinstance(current, list) and isinstance(values, list):
            result[name] = [entry for entry in current if entry not in values]
    elif not directive.startswith(_ELEMENT_ORDER) and directive not in (_PATCH, _RETAIN_KEYS):
        raise BadRequest(f"unknown directive {directive!r} in the strategic merge patch")


def _merge_objects(existing: list[Any], patch: list[Any], node: Node, path: str) -> list[Any]:
    key = node.merge_key
    if any(isinstance(entry, dict) and entry.get(_PATCH) == "replace" for entry in patch):
        return [entry for entry in patch if not (isinstance(entry, dict) and _PATCH in entry)]
    result = list(existing)
    given: list[Any] = []
    for index, entry in enumerate(patch):
        if not isinstance(entry, dict):
            raise BadRequest(f"{path}[{index}]: an object with the key {key!r} is needed")
        if key not in entry:
            raise BadRequest(f"{path}[{index}]: map: {entry} does not contain declared merge key: {key}")
        position = next(
            (at for at, other in enumerate(result) if isinstance(other, dict) and other.get(key) == entry[key]), None
        )
        if entry.get(_PATCH) == "delete":
            result = [other for other in result if not (isinstance(other, dict) and other.get(key) == entry[key])]
            continue
        at = f"{path}[{index}]"
        if position is None:
            result.append(_merge_map({}, entry, node.items, at))
        else:
            result[position] = _merge_map(result[position], entry, node.items, at)
        if entry[key] not in given:
            given.append(entry[key])

    def rank(entry: Any) -> int:
        return given.index(entry.get(key)) if isinstance(entry, dict) and entry.get(key) in given else -1

    named = sorted((entry for entry in result if rank(entry) >= 0), key=rank)
    identities = [entry.get(key) if isinstance(entry, dict) else entry for entry in existing]
    return _interleaved([entry for entry in result if rank(entry) < 0], named, identities, key)


def _interleaved(others: list[Any], named: list[Any], before: list[Any], key: str = "") -> list[Any]:
    """What the patch names, in its order, among the others, which go where they were.

    What is new comes before what it cannot be compared with. Source: `mergeSortedSlice` of upstream's strategicpatch.
    """

    def place(entry: Any) -> int:
        identity = entry.get(key) if key and isinstance(entry, dict) else entry
        return before.index(identity) if identity in before else -1

    merged: list[Any] = []
    for entry in named:
        at = place(entry)
        while others and 0 <= place(others[0]) < at:
            merged.append(others[0])
            others = others[1:]
        merged.append(entry)
    return merged + others


def _set_order(result: Obj, field: str, order: Any, patched: Any, before: Any, node: Node | None) -> None:
    """Arranges a list: entries named in the order follow it, the others stay near where they were."""
    current = result.get(field)
    if not isinstance(current, list) or not isinstance(order, list):
        return
    key = node.merge_key if node is not None else ""

    def identity(entry: Any) -> Any:
        return entry.get(key) if key and isinstance(entry, dict) else entry

    wanted = [identity(entry) for entry in order]
    if isinstance(patched, list):
        absent = [
            identity(e) for e in patched if not (isinstance(e, dict) and _PATCH in e) and identity(e) not in wanted
        ]
        if absent:
            raise BadRequest(f"$setElementOrder/{field} must name every entry the patch has; missing: {absent}")
    named = sorted((entry for entry in current if identity(entry) in wanted), key=lambda e: wanted.index(identity(e)))
    others = [entry for entry in current if identity(entry) not in wanted]
    place = {_hashable(identity(entry)): at for at, entry in enumerate(before if isinstance(before, list) else [])}
    merged: list[Any] = []
    for entry in named:
        at = place.get(_hashable(identity(entry)))
        while others and at is not None and place.get(_hashable(identity(others[0])), len(place)) < at:
            merged.append(others.pop(0))
        merged.append(entry)
    result[field] = merged + others


def _hashable(identity: Any) -> Any:
    return identity if isinstance(identity, str | int | float) else repr(identity)
