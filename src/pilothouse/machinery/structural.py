"""Does a JSON tree have the shape its kind's schema says: types, unknown fields, nulls, quantities.

Most trees do. So a compiled check answers yes or no in a few microseconds, and only a tree it refuses is walked
again to say what is wrong and where, and to put right what the API puts right: a field given as null is a field
left out, a quantity is stored in its canonical form, an unknown field is dropped.

Sources: `k8s.io/apimachinery/pkg/runtime/serializer/json` for unknown fields, the messages of
`k8s.io/kube-openapi/pkg/validation` for types.
"""

from __future__ import annotations

import binascii
import datetime as dt
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import orjson

from pilothouse.machinery.errors import BadRequest, Cause
from pilothouse.machinery.objects import Obj
from pilothouse.machinery.quantity import InvalidQuantity, canonical
from pilothouse.machinery.schema import GroupVersionKind, Node, Schema
from pilothouse.machinery.suggestions import Place, suggestion

Check = Callable[[Any], bool]

_INT32 = (-(2**31), 2**31 - 1)
_INT64 = (-(2**63), 2**63 - 1)


class UnknownField(NamedTuple):
    """A field the schema does not know, and the path that was probably meant ("" when nothing is near)."""

    path: str
    suggestion: str = ""

    @property
    def message(self) -> str:
        """As upstream words it."""
        return f'unknown field "{self.path}"'


class Examination(NamedTuple):
    """What a tree is like; `tree` is the same object when there was nothing to change."""

    tree: Obj
    causes: tuple[Cause, ...] = ()
    unknown: tuple[UnknownField, ...] = ()


def examine(schema: Schema, tree: Obj) -> Examination:
    """Checks a tree and brings it to the form it is stored in; the tree given is not changed."""
    if _check(schema.root)(tree):
        return Examination(tree)
    walk = _Walk()
    result = walk.visit(schema.root, tree, "")
    return Examination(result if isinstance(result, dict) else {}, tuple(walk.causes), tuple(walk.unknown))


def validate(schema: Schema, tree: Obj) -> list[Cause]:
    """The values whose type is not the schema's."""
    return list(examine(schema, tree).causes)


def unknown_fields(schema: Schema, tree: Obj) -> list[UnknownField]:
    """The fields that the schema does not know, with what was probably meant."""
    return list(examine(schema, tree).unknown)


def prune(schema: Schema, tree: Obj) -> Obj:
    """The tree without unknown fields and nulls, quantities canonical; the same tree when it is so already."""
    return examine(schema, tree).tree


def strict_error(
    gvk: GroupVersionKind, unknown: Sequence[UnknownField], before: Sequence[str] = (), after: Sequence[str] = ()
) -> BadRequest:
    """The refusal of `fieldValidation=Strict`, with the likely intended fields at its end; what else is wrong is named
    `before` or `after` unknown fields."""
    messages = [*before, *(field.message for field in unknown), *after]
    meant = ", ".join(f'"{field.suggestion}"' for field in unknown if field.suggestion)
    return BadRequest(
        _cannot_be_handled(gvk, f"strict decoding error: {', '.join(messages)}")
        + (f"; did you mean {meant}?" if meant else ""),
        causes=[
            Cause(
                field.path,
                "FieldValueInvalid",
                field.message + (f', did you mean "{field.suggestion}"?' if field.suggestion else ""),
            )
            for field in unknown
        ],
    )


def type_error(gvk: GroupVersionKind, causes: Sequence[Cause]) -> BadRequest:
    """The refusal of a body whose values have the wrong types."""
    return BadRequest(
        _cannot_be_handled(gvk, "; ".join(f"{cause.field}: {cause.message}" for cause in causes)), causes=causes
    )


def _cannot_be_handled(gvk: GroupVersionKind, why: str) -> str:
    return f'{gvk.kind} in version "{gvk.version}" cannot be handled as a {gvk.kind}: {why}'


def _check(node: Node) -> Check:
    """A compiled predicate: is the value of this shape, and as it would be stored?"""
    check: Check | None = node.compiled.get("check")
    if check is None:
        check = node.compiled["check"] = _compile(node)
    return check


def _compile(node: Node) -> Check:
    if node.type == "object":
        return _object_check(node)
    if node.type == "map":
        return _map_check(node)
    if node.type == "array":
        return _array_check(node)
    if node.type == "any":
        return _is_present
    if node.type == "integer":
        low, high = _INT32 if node.format == "int32" else _INT64
        return lambda value: type(value) is int and low <= value <= high
    if node.type == "string" and node.format in _STRING_FORMATS:
        valid = _STRING_FORMATS[node.format]
        return lambda value: type(value) is str and not valid(value)
    return _SCALARS[node.type]


def _object_check(node: Node) -> Check:
    checks: dict[str, Check] = {}

    def first_time(name: str) -> Check | None:
        # Compiled when first met: definitions may contain themselves, and most fields are never used.
        child = node.properties.get(name)
        if child is None:
            return None
        check = checks[name] = _check(child)
        return check

    def check_object(value: Any) -> bool:
        if type(value) is not dict:
            return False
        for name, child in value.items():
            check = checks.get(name) or first_time(name)
            if check is _is_text:  # the most frequent by far, so spared the call
                if type(child) is not str:
                    return False
            elif check is None or not check(child):
                return False
        return True

    return check_object


def _map_check(node: Node) -> Check:
    check = _check(node.items)

    if check is _is_text:
        return lambda value: type(value) is dict and _TEXT_ONLY.issuperset(map(type, value.values()))

    def check_map(value: Any) -> bool:
        return type(value) is dict and all(map(check, value.values()))

    return check_map


def _array_check(node: Node) -> Check:
    items = node.items

    def check_array(value: Any) -> bool:
        if type(value) is not list:
            return False
        if not value:
            return True
        # Looked up at each call: the items of a definition may be the definition itself.
        return all(map(_check(items), value))

    return check_array


def _is_text(value: Any) -> bool:
    return type(value) is str


_TEXT_ONLY = frozenset((str,))


def _is_present(value: Any) -> bool:
    return value is not None


def _canonical_quantity(value: Any) -> bool:
    try:
        return type(value) is str and canonical(value) == value
    except InvalidQuantity:
        return False


_SCALARS: dict[str, Check] = {
    "string": _is_text,
    "boolean": lambda value: type(value) is bool,
    "number": lambda value: type(value) is int or type(value) is float,
    "int-or-string": lambda value: type(value) is str or type(value) is int,
    "quantity": _canonical_quantity,
}


def _base64_problem(text: str) -> str:
    try:
        binascii.a2b_base64(text.replace("\n", "").replace("\r", "").encode(), strict_mode=True)
    except (binascii.Error, UnicodeEncodeError) as error:
        return f"illegal base64 data: {error}"
    return ""


def _time_problem(text: str) -> str:
    try:
        moment = dt.datetime.fromisoformat(text)
    except ValueError:
        moment = None
    if moment is None or moment.tzinfo is None or len(text) < 20:
        return f"parsing time {text!r}: an RFC 3339 time such as 2006-01-02T15:04:05Z is needed"
    return ""


_STRING_FORMATS: dict[str, Callable[[str], str]] = {"byte": _base64_problem, "date-time": _time_problem}

_ZERO: dict[str, Any] = {"string": "", "integer": 0, "number": 0, "boolean": False, "quantity": "0"}


class _Walk:
    """The slow way: finds everything that is wrong and builds the tree as it is stored."""

    def __init__(self) -> None:
        self.causes: list[Cause] = []
        self.unknown: list[UnknownField] = []
        self._places: list[Place] = []

    def visit(self, node: Node, value: Any, path: str) -> Any:
        if _check(node)(value):
            return value
        if node.type == "object" and isinstance(value, dict):
            return self._object(node, value, path)
        if node.type == "map" and isinstance(value, dict):
            return {name: self._entry(node.items, child, f"{path}.{name}") for name, child in value.items()}
        if node.type == "array" and isinstance(value, list):
            return [self._entry(node.items, child, f"{path}[{index}]") for index, child in enumerate(value)]
        if node.type == "quantity" and isinstance(value, str | int | float) and not isinstance(value, bool):
            try:
                return canonical(value)
            except InvalidQuantity as error:
                self._refuse(path, f"Invalid value: {_quoted(value)}: {error}")
                return value
        self._wrong_type(node, value, path)
        return value

    def _entry(self, node: Node, value: Any, path: str) -> Any:
        """An entry of a list or map cannot be left out, so null is the zero value."""
        if value is None:
            return _ZERO.get(node.type, {} if node.type in ("object", "map") else None)
        return self.visit(node, value, path)

    def _object(self, node: Node, value: Obj, path: str) -> Obj:
        result: Obj = {}
        prefix = f"{path}." if path else ""
        self._places.append((node, prefix))
        for name, child in value.items():
            field = node.properties.get(name)
            if field is None:
                self.unknown.append(UnknownField(prefix + name, suggestion(name, self._places)))
            elif child is not None:
                result[name] = self.visit(field, child, prefix + name)
        self._places.pop()
        return result

    def _wrong_type(self, node: Node, value: Any, path: str) -> None:
        found = _type_name(value)
        problem = _STRING_FORMATS.get(node.format)
        if isinstance(value, str) and problem is not None:
            self._refuse(path, f"Invalid value: {_quoted(value)}: {problem(value)}")
        elif node.type == "integer" and type(value) is int:
            self._refuse(path, f"Invalid value: {value}: {path} does not fit in {node.format or 'int64'}")
        else:
            wanted = {"int-or-string": "integer or string", "map": "object"}.get(node.type, node.type)
            self._refuse(path, f'Invalid value: "{found}": {path or "body"} must be of type {wanted}: "{found}"')

    def _refuse(self, path: str, message: str) -> None:
        self.causes.append(Cause(path, "FieldValueTypeInvalid", message))


def _quoted(value: Any) -> str:
    return orjson.dumps(value).decode()


def _type_name(value: Any) -> str:
    if value is None:
        return "null"
    for type_, name in ((bool, "boolean"), (int, "integer"), (float, "number"), (str, "string"), (dict, "object")):
        if isinstance(value, type_):
            return name
    return "array"
