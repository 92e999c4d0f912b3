"""How large values of a schema can become within one request: what estimates of an expression's cost rest on. Pure.

Source: `k8s.io/apiserver/pkg/cel/common/schemas.go` and `pkg/cel/limits.go`. A request is at most 3 MiB; so an array
without `maxItems` has as many entries as fit, and a text without `maxLength` is as long as a request.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

from pilothouse.machinery.objects import Obj
from pilothouse.policy.cel.fields import escape

REQUEST_BYTES: Final = 3 * 1024 * 1024
_WHOLE: Final = REQUEST_BYTES - 2
"""What two quotation marks, brackets or braces leave."""
_TIMES: Final = {"duration": (3, 32), "date": (12, 12), "date-time": (21, 32)}
"""Bytes of the shortest and the longest value of a format, as JSON."""
_TEXT_BYTES: Final = 2
_SCALARS: Final = {"boolean": 4, "number": 1, "integer": 1}
_TYPE_AND_META: Final[Obj] = {
    "apiVersion": {"type": "string"},
    "kind": {"type": "string"},
    "metadata": {"type": "object", "properties": {"name": {"type": "string"}, "generateName": {"type": "string"}}},
}


@dataclass(frozen=True, slots=True)
class Shape:
    """What is known of a value's size: `least` bytes of JSON; `most` characters, entries or pairs, 0 for numbers,
    objects and keys, as upstream has it; what is inside, by field or for every entry."""

    least: int
    most: int = 0
    fields: Mapping[str, Shape] = field(default_factory=dict)
    entry: Shape | None = None
    key: Shape | None = None

    @property
    def cardinality(self) -> int:
        """How many such values fit into one request, with a comma between them."""
        return REQUEST_BYTES // (self.least + 1)

    def at(self, path: Sequence[str]) -> Shape | None:
        """The shape along a path of field names, `@items`, `@values` and `@keys`; None when there is none."""
        found: Shape | None = self
        for name in path:
            if found is None:
                return None
            if name in ("@items", "@values"):
                found = found.entry
            elif name == "@keys":
                found = found.key
            else:
                found = found.fields.get(name)
        return found


def shape_of(schema: Obj, *, resource: bool = False) -> Shape | None:
    """The shape of a structural schema, None for what expressions cannot name; `resource`: of a whole object."""
    if schema.get("x-kubernetes-int-or-string"):
        return Shape(1, _longest(schema))
    if resource or schema.get("x-kubernetes-embedded-resource"):
        schema = {**schema, "type": "object", "properties": {**(schema.get("properties") or {}), **_TYPE_AND_META}}
    kind = schema.get("type")
    if kind == "array":
        return _array(schema)
    if kind == "object":
        return _object(schema)
    if kind == "string":
        return _text(schema)
    least = _SCALARS.get(str(kind))
    return None if least is None else Shape(least)


def _array(schema: Obj) -> Shape | None:
    entry = shape_of(schema.get("items") or {})
    if entry is None:
        return None
    most = schema.get("maxItems")
    return Shape(2, _WHOLE // (entry.least + 1) if most is None else max(most, 0), entry=entry)


def _object(schema: Obj) -> Shape | None:
    values = schema.get("additionalProperties")
    if isinstance(values, dict) and values and not schema.get("properties"):
        entry = shape_of(values)
        if entry is None:
            return None
        most = schema.get("maxProperties")
        # The shortest key has no characters: two quotation marks, a colon, a comma and the space upstream counts.
        found = _WHOLE // (entry.least + 6) if most is None else max(most, 0)
        return Shape(2, found, entry=entry, key=Shape(_TEXT_BYTES))
    fields: dict[str, Shape] = {}
    least, required = 2, set(schema.get("required") or ())
    for name, inner in (schema.get("properties") or {}).items():
        shape = shape_of(inner)
        if shape is None:
            continue
        if written := escape(name):
            fields[written] = shape
        if name in required and inner.get("default") is None:
            least += len(name.encode()) + shape.least + 4
    return Shape(least, fields=fields)


def _text(schema: Obj) -> Shape:
    form, most = schema.get("format") or "", schema.get("maxLength")
    if form in _TIMES:
        return Shape(*_TIMES[form])
    if form == "byte":
        return Shape(_TEXT_BYTES, _WHOLE if most is None else max(most, 0))
    values = schema.get("enum")
    if most is None and values:
        return Shape(_TEXT_BYTES, max((len(v.encode()) for v in values if isinstance(v, str)), default=0))
    return Shape(_TEXT_BYTES, _longest(schema))


def _longest(schema: Obj) -> int:
    most = schema.get("maxLength")
    # Characters take up to four bytes.
    return _WHOLE if most is None else max(most, 0) * 4
