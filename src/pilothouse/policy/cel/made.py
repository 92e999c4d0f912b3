"""Objects that expressions of mutating policies make: `Object{spec: Object.spec{…}}` and `JSONPatch{op: "add", …}`.

Source: Kubernetes documentation, "Mutating Admission Policy". The parser knows an object's type by a protobuf message,
and of these the expression itself says which there are. Their fields may hold anything, as upstream has it: whether an
object fits its place, and the kind's schema, is looked at when it has been made.
"""

from __future__ import annotations

import base64
import re
from typing import Any, NamedTuple

from pilothouse.machinery.objects import Obj
from pilothouse.policy.cel import types
from pilothouse.policy.cel.errors import EvaluationError
from pilothouse.policy.cel.fields import Struct
from pilothouse.policy.cel.library.times import seconds_text, timestamp_text
from pilothouse.policy.cel.types import Type
from pilothouse.policy.cel.values import Duration, Optional, Timestamp

OBJECT, JSON_PATCH = Type("Object"), Type("JSONPatch")
JSON_PATCHES = types.list_of(JSON_PATCH)
_DOT = "__dot__"
_TOKEN = re.compile(
    r"""(?P<text>[rRbB]{0,2}(?:\"\"\".*?\"\"\"|'''.*?'''|"(?:\\.|[^"\\\n])*"|'(?:\\.|[^'\\\n])*'))"""
    r"""|(?P<made>(?<![\w.])Object(?:\s*\.\s*\w+)*)(?=\s*\{)"""
    r"""|(?P<field>[A-Za-z_]\w*)(?=\s*:)""",
    re.DOTALL,
)
_ANYTHING, _TEXT, _OPTIONAL, _MESSAGE = ".google.protobuf.Value", 9, 1, 11


class Prepared(NamedTuple):
    """An expression as the parser takes it, and the messages of the objects it makes."""

    text: str
    messages: bytes
    moved: tuple[tuple[int, int], ...]
    """Where the text grew: a place in it, and by how much."""

    def position(self, prepared: int) -> int:
        """The place in the original of a place in the text."""
        return prepared - sum(grown for place, grown in self.moved if place < prepared)


def prepare(expression: str) -> Prepared:
    """Gives the types of objects names without dots, and says which types there are."""
    made: dict[str, None] = {"Object": None}
    fields: dict[str, None] = {}
    moved: list[tuple[int, int]] = []
    parts, at, length = [], 0, 0
    for found in _TOKEN.finditer(expression):
        if found["field"]:
            fields[found["field"]] = None
        if not found["made"]:
            continue
        name = _DOT.join(part.strip() for part in found["made"].split("."))
        made[name] = None
        parts += [expression[at : found.start()], name]
        length += found.start() - at + len(name)
        at = found.end()
        moved.append((length - 1, len(name) - len(found["made"])))
    return Prepared("".join([*parts, expression[at:]]), _messages([*made], [*fields]), tuple(moved))


def _messages(made: list[str], fields: list[str]) -> bytes:
    from google.protobuf import descriptor_pb2

    file = descriptor_pb2.FileDescriptorProto(
        name="schema.proto",
        syntax="proto2",
        dependency=[f"google/protobuf/{name}.proto" for name in ("timestamp", "duration", "struct")],
    )
    for name in made:
        message = file.message_type.add(name=name)
        for number, field in enumerate(fields, 1):
            message.field.add(
                name=field,
                number=number,
                json_name=f"f{number}",
                label=_OPTIONAL,
                type=_MESSAGE,
                type_name=_ANYTHING,
            )
    patch = file.message_type.add(name=JSON_PATCH.name)
    for number, field in enumerate(("op", "path", "from"), 1):
        patch.field.add(name=field, number=number, label=_OPTIONAL, type=_TEXT)
    patch.field.add(name="value", number=4, label=_OPTIONAL, type=_MESSAGE, type_name=_ANYTHING)
    return file.SerializeToString(deterministic=True)


def as_json(value: Any) -> Any:
    """A value, made objects in it, as JSON. Raises EvaluationError for what JSON cannot say, and for an object whose
    type is not that of its place."""
    return _json(value, value.type if isinstance(value, Struct) else None)


def _json(value: Any, place: str | None) -> Any:
    """`place` is the type an object here must have, None where any begins anew."""
    if isinstance(value, Struct):
        if place is not None and value.type != place:
            raise EvaluationError(
                f'unexpected type name "{_shown(value.type)}", expected "{_shown(place)}", which matches field name'
                " path from root Object type"
            )
        return {name: _json(inner, f"{value.type}{_DOT}{name}") for name, inner in value.items()}
    if isinstance(value, dict):
        made: Obj = {}
        for key, inner in value.items():
            if not isinstance(key, str):
                raise EvaluationError(f"a key of a map is no text: {key}")
            made[key] = _json(inner, place)
        return made
    if isinstance(value, list):
        return [_json(inner, place) for inner in value]
    if value is None or isinstance(value, bool | str | float):
        return value
    if isinstance(value, int):
        return int(value)
    if isinstance(value, bytes):
        return base64.b64encode(value).decode()
    if isinstance(value, Timestamp):
        return timestamp_text(value)
    if isinstance(value, Duration):
        return seconds_text(value)
    if isinstance(value, Optional):
        raise EvaluationError("an optional value stands where a value is needed: write ?field: value, or orValue()")
    raise EvaluationError(f"a value of type {type(value).__name__} cannot be put into an object")


def _shown(name: str) -> str:
    return name.replace(_DOT, ".")
