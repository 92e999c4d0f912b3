"""Types of objects from their OpenAPI schemas, so that an expression that names a field that is none does not compile.

Source of the rules: Kubernetes documentation, "Validation rules", and `k8s.io/apiserver/pkg/cel/common/schemas.go`. The
parser takes object types as protobuf messages; so a schema becomes a protobuf file, and values stay JSON.
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from pilothouse.machinery.objects import Obj
from pilothouse.policy.cel import types
from pilothouse.policy.cel.errors import EvaluationError
from pilothouse.policy.cel.fields import escape
from pilothouse.policy.cel.library import times
from pilothouse.policy.cel.types import Type
from pilothouse.policy.cel.values import MapList, SetList

Convert = Callable[[Any], Any]

_DOT = "__dot__"
_METADATA = {"type": "object", "properties": {"name": {"type": "string"}, "generateName": {"type": "string"}}}
_TYPE_AND_META = {"apiVersion": {"type": "string"}, "kind": {"type": "string"}, "metadata": _METADATA}
_STRINGS = {
    "byte": types.BYTES,
    "duration": types.DURATION,
    "date": types.TIMESTAMP,
    "date-time": types.TIMESTAMP,
}
_PRIMITIVES = {"string": types.STRING, "integer": types.INT, "number": types.DOUBLE, "boolean": types.BOOL}

# Field types of descriptor.proto.
_KINDS = {types.DOUBLE: 1, types.INT: 3, types.BOOL: 8, types.STRING: 9, types.BYTES: 12}
_MESSAGE, _OPTIONAL, _REPEATED = 11, 1, 3


class Declared(NamedTuple):
    """What a schema says: the type to declare a variable with, the messages to compile with, and how a JSON value
    becomes a value of the type (dates, bytes, lists that are sets or maps); None where it is one as it is."""

    type: Type
    messages: bytes
    convert: Convert | None


def declare(schema: Obj, name: str = "selfType", *, resource: bool = False) -> Declared:
    """The type of a structural schema. `resource`: it is that of a whole object, with apiVersion, kind and metadata.

    A property without a type (`x-kubernetes-preserve-unknown-fields`) cannot be named, as upstream has it.
    """
    builder = _Builder()
    kind = builder.type_of(_with_type_and_meta(schema) if resource else schema, name)
    return Declared(kind or types.DYN, builder.file(), converter(schema))


def joined(first: bytes, second: bytes) -> bytes:
    """The messages of two declarations together."""
    from google.protobuf import descriptor_pb2

    if not first or not second:
        return first or second
    whole = descriptor_pb2.FileDescriptorProto.FromString(first)
    whole.message_type.extend(descriptor_pb2.FileDescriptorProto.FromString(second).message_type)
    return whole.SerializeToString(deterministic=True)


class _Builder:
    def __init__(self) -> None:
        from google.protobuf import descriptor_pb2

        self._file = descriptor_pb2.FileDescriptorProto(
            name="schema.proto",
            syntax="proto2",
            dependency=[f"google/protobuf/{name}.proto" for name in ("timestamp", "duration", "struct")],
        )

    def file(self) -> bytes:
        return self._file.SerializeToString(deterministic=True) if self._file.message_type else b""

    def type_of(self, schema: Obj, name: str) -> Type | None:
        """The type, None for what has none."""
        if schema.get("x-kubernetes-int-or-string"):
            return types.DYN
        if schema.get("x-kubernetes-embedded-resource"):
            schema = _with_type_and_meta(schema)
        kind = schema.get("type")
        if kind == "array":
            items = self.type_of(schema.get("items") or {}, f"{name}{_DOT}idx")
            return types.list_of(items) if items else None
        if kind == "object":
            values = schema.get("additionalProperties")
            if isinstance(values, dict) and values and not schema.get("properties"):
                entry = self.type_of(values, f"{name}{_DOT}elem")
                return types.map_of(entry) if entry else None
            return self._object(schema.get("properties") or {}, name)
        if kind == "string":
            return _STRINGS.get(schema.get("format") or "", types.STRING)
        return _PRIMITIVES.get(str(kind))

    def _object(self, properties: Mapping[str, Obj], name: str) -> Type:
        message = self._file.message_type.add(name=name)
        for number, (field, schema) in enumerate(properties.items(), 1):
            written = escape(field)
            inner = self.type_of(schema, f"{name}{_DOT}{written}") if written else None
            if inner is not None:
                self._field(message, written, number if number < 19_000 else number + 1_000, inner)
        return Type(name)

    def _field(self, message: Any, name: str, number: int, kind: Type) -> None:
        field = message.field.add(name=name, number=number, json_name=f"f{number}", label=_OPTIONAL)
        if kind.name == "list":
            field.label = _REPEATED
            kind = kind.params[0]
        elif kind.name == "map":
            # Protobuf finds an entry's type by its name, which is the field's in another case.
            entry = message.nested_type.add(name=f"{_camel(name)}Entry")
            entry.options.map_entry = True
            entry.field.add(name="key", number=1, label=_OPTIONAL, type=_KINDS[types.STRING])
            _set_type(entry.field.add(name="value", number=2, label=_OPTIONAL), kind.params[1])
            field.label = _REPEATED
            kind = Type(f"{message.name}.{entry.name}")
        _set_type(field, kind)


def _camel(name: str) -> str:
    return "".join(part[:1].upper() + part[1:] for part in name.split("_"))


def _set_type(field: Any, kind: Type) -> None:
    number = _KINDS.get(kind)
    if number is not None:
        field.type = number
        return
    field.type = _MESSAGE
    known = {"dyn": ".google.protobuf.Value", "list": ".google.protobuf.ListValue", "map": ".google.protobuf.Struct"}
    field.type_name = known.get(kind.name, f".{kind.name}")


def _with_type_and_meta(schema: Obj) -> Obj:
    return {**schema, "type": "object", "properties": {**(schema.get("properties") or {}), **_TYPE_AND_META}}


def converter(schema: Obj) -> Convert | None:
    """How a JSON value of the schema becomes a CEL value; None when it is one."""
    if schema.get("x-kubernetes-int-or-string"):
        return None
    kind = schema.get("type")
    if kind == "string":
        return _STRING_CONVERTERS.get(schema.get("format") or "")
    if kind == "number":
        return lambda value: float(value) if type(value) is int else value
    if kind == "array":
        return _list_converter(schema)
    if kind == "object":
        return _object_converter(schema)
    return None


def _object_converter(schema: Obj) -> Convert | None:
    found = {name: converter(inner) for name, inner in (schema.get("properties") or {}).items()}
    fields = {name: convert for name, convert in found.items() if convert is not None}
    values = schema.get("additionalProperties")
    others = converter(values) if isinstance(values, dict) else None
    if not fields and others is None:
        return None

    def convert(value: Any) -> Any:
        if not isinstance(value, dict):
            return value
        made = dict(value)
        if others is not None:
            return {key: others(entry) for key, entry in made.items()}
        for name, inner in fields.items():
            if made.get(name) is not None:
                made[name] = inner(made[name])
        return made

    return convert


def _list_converter(schema: Obj) -> Convert | None:
    inner = converter(schema.get("items") or {})
    kind = schema.get("x-kubernetes-list-type") or "atomic"
    keys = tuple(schema.get("x-kubernetes-list-map-keys") or ())
    if inner is None and kind == "atomic":
        return None

    def convert(value: Any) -> Any:
        if not isinstance(value, list):
            return value
        entries = value if inner is None else [inner(entry) for entry in value]
        if kind == "set":
            return SetList(entries)
        return MapList(entries, keys) if kind == "map" else entries

    return convert


def _parsed(parse: Callable[[str], Any]) -> Convert:
    """A text of a format; one that is not of it stays a text, and is refused by the schema."""

    def convert(value: Any) -> Any:
        try:
            return parse(value) if isinstance(value, str) else value
        except (EvaluationError, binascii.Error):
            return value

    return convert


_STRING_CONVERTERS: Mapping[str, Convert] = {
    "byte": _parsed(lambda text: base64.b64decode(text, validate=True)),
    "duration": _parsed(times.parse_duration),
    "date": _parsed(lambda text: times.parse_timestamp(f"{text}T00:00:00Z")),
    "date-time": _parsed(times.parse_timestamp),
}
