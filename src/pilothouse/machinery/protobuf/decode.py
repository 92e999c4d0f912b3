"""Kubernetes protobuf to JSON trees.

Source: `k8s.io/apimachinery/pkg/runtime/serializer/protobuf`: the bytes `k8s\\0`, then a `runtime.Unknown` that names
the kind and holds its message. Which zeros appear in JSON follows from the table's flags.
"""

from __future__ import annotations

import base64
import datetime as dt
import struct
from collections.abc import Callable
from typing import Any, Final

import orjson

from pilothouse.machinery.errors import BadRequest
from pilothouse.machinery.objects import Obj, micro_timestamp, timestamp
from pilothouse.machinery.protobuf.table import Field, message_of, plan

MAGIC: Final = b"k8s\x00"

_SCHEMA: Final = "apiextensions.v1.JSONSchemaProps"
_VARINT, _FIXED64, _BYTES, _FIXED32 = 0, 1, 2, 5


class _Malformed(ValueError):
    """The bytes are not a message."""


def decode_protobuf(body: bytes) -> Obj:
    """The JSON tree of a body. Raises BadRequest for bytes that are no message and for kinds that are not known."""
    if not body.startswith(MAGIC):
        raise BadRequest("the body is not Kubernetes protobuf: it does not begin with the bytes 'k8s\\0'")
    try:
        return _decode(body)
    except (IndexError, struct.error) as error:
        raise BadRequest("the body is not valid protobuf: it ends too early") from error
    except (_Malformed, UnicodeDecodeError) as error:
        raise BadRequest(f"the body is not valid protobuf: {error}") from error


def _decode(body: bytes) -> Obj:
    api_version = kind = content_encoding = content_type = ""
    raw = (0, 0)
    for number, wire, _value, start, end in _fields(body, len(MAGIC), len(body)):
        if wire != _BYTES:
            raise _Malformed(f"field {number} of the envelope has wire type {wire}")
        if number == 1:
            for inner, _, _, at, until in _fields(body, start, end):
                if inner == 1:
                    api_version = body[at:until].decode()
                elif inner == 2:
                    kind = body[at:until].decode()
        elif number == 2:
            raw = (start, end)
        elif number == 3:
            content_encoding = body[start:end].decode()
        elif number == 4:
            content_type = body[start:end].decode()
    if content_encoding or content_type not in ("", "application/vnd.kubernetes.protobuf"):
        raise BadRequest(
            f"the protobuf envelope holds content of type {content_type!r}, encoding {content_encoding!r}: "
            "send the object itself, uncompressed"
        )
    message = message_of(api_version, kind)
    if message is None:
        raise BadRequest(
            f"no kind {kind!r} of {api_version!r} can be read from protobuf here: send JSON (application/json)"
        )
    return {"apiVersion": api_version, "kind": kind, **_message(message, body, *raw)}


def _varint(data: bytes, at: int) -> tuple[int, int]:
    byte = data[at]
    at += 1
    if byte < 0x80:
        return byte, at
    result = byte & 0x7F
    shift = 7
    while True:
        byte = data[at]
        at += 1
        result |= (byte & 0x7F) << shift
        if byte < 0x80:
            return result & 0xFFFFFFFFFFFFFFFF, at
        shift += 7
        if shift > 63:
            raise _Malformed("a number is longer than 64 bits")


def _fields(data: bytes, at: int, end: int) -> list[tuple[int, int, int, int, int]]:
    """The fields of a message: number, wire type, value of a varint, and the place of anything else."""
    found = []
    while at < end:
        tag, at = _varint(data, at)
        wire = tag & 7
        value, start = 0, at
        if wire == _BYTES:
            length, start = _varint(data, at)
            at = start + length
        elif wire == _VARINT:
            value, at = _varint(data, at)
        elif wire == _FIXED64:
            at += 8
        elif wire == _FIXED32:
            at += 4
        else:
            raise _Malformed(f"wire type {wire} of field {tag >> 3}")
        if at > end:
            raise _Malformed(f"field {tag >> 3} ends after its message")
        found.append((tag >> 3, wire, value, start, at))
    return found


def _message(message: str, data: bytes, at: int, end: int) -> Any:
    special = _SPECIAL.get(message)
    return special(data, at, end) if special is not None else _plain(message, data, at, end)


def _plain(message: str, data: bytes, at: int, end: int) -> Obj:
    result: Obj = {}
    fields = plan(message)
    for number, wire, value, start, until in _fields(data, at, end):
        field = fields.get(number)
        if field is None:
            continue
        if field.shape == "one":
            _one(result, field, wire, value, data, start, until)
        elif field.shape == "list":
            _append(result.setdefault(field.name, []), field, wire, value, data, start, until)
        else:
            key, item = _map_entry(field, data, start, until)
            result.setdefault(field.name, {})[key] = item
    return result


def _one(result: Obj, field: Field, wire: int, value: int, data: bytes, start: int, end: int) -> None:
    decoded = _value(field.type, wire, value, data, start, end)
    if not field.name:
        result.update(decoded)
    elif decoded is not None and (field.keep_zero or isinstance(decoded, dict) or decoded):
        result[field.name] = decoded


def _append(items: list[Any], field: Field, wire: int, value: int, data: bytes, start: int, end: int) -> None:
    if wire == _BYTES and field.type in ("int32", "int64", "bool"):
        while start < end:
            value, start = _varint(data, start)
            items.append(_value(field.type, _VARINT, value, data, 0, 0))
        return
    items.append(_value(field.type, wire, value, data, start, end))


def _map_entry(field: Field, data: bytes, start: int, end: int) -> tuple[str, Any]:
    key = ""
    item: Any = None
    for number, wire, value, at, until in _fields(data, start, end):
        if number == 1 and wire == _BYTES:
            key = data[at:until].decode()
        elif number == 2:
            item = _value(field.type, wire, value, data, at, until)
    # A value that is left out is the zero of its type: decoded from nothing, it is just that.
    return key, item if item is not None else _value(field.type, _zero_wire(field.type), 0, b"", 0, 0)


def _zero_wire(type_: str) -> int:
    return {"bool": _VARINT, "int32": _VARINT, "int64": _VARINT, "double": _FIXED64}.get(type_, _BYTES)


def _value(type_: str, wire: int, value: int, data: bytes, start: int, end: int) -> Any:
    if wire == _BYTES:
        if type_ == "string":
            return data[start:end].decode()
        if type_ == "bytes":
            return base64.b64encode(data[start:end]).decode()
        if type_ not in ("bool", "int32", "int64", "double"):
            return _message(type_, data, start, end)
    elif wire == _VARINT:
        if type_ == "bool":
            return value != 0
        if type_ in ("int32", "int64"):
            # Negative numbers of either size are sent with 64 bits.
            return value - (1 << 64) if value >= 1 << 63 else value
    elif wire == _FIXED64 and type_ == "double":
        return struct.unpack_from("<d", data, start)[0] if data else 0.0
    raise _Malformed(f"wire type {wire} where {type_} belongs")


def _numbers(data: bytes, at: int, end: int) -> dict[int, int]:
    return {
        number: _value("int64", wire, value, data, 0, 0)
        for number, wire, value, _, _ in _fields(data, at, end)
        if wire == _VARINT
    }


def _moment(data: bytes, at: int, end: int) -> dt.datetime | None:
    """None for an empty message, which is a time that was not set."""
    if at == end:
        return None
    numbers = _numbers(data, at, end)
    micros = numbers.get(1, 0) * 1_000_000 + numbers.get(2, 0) // 1000
    try:
        return dt.datetime(1970, 1, 1, tzinfo=dt.UTC) + dt.timedelta(microseconds=micros)
    except OverflowError as error:
        raise _Malformed(f"{numbers.get(1)} seconds since 1970 is no time") from error


def _time(data: bytes, at: int, end: int) -> str | None:
    moment = _moment(data, at, end)
    return timestamp(moment) if moment else None


def _micro_time(data: bytes, at: int, end: int) -> str | None:
    moment = _moment(data, at, end)
    return micro_timestamp(moment) if moment else None


def _text(data: bytes, at: int, end: int) -> str:
    """The one field of a message such as Quantity."""
    found = ""
    for number, wire, _, start, until in _fields(data, at, end):
        if number == 1 and wire == _BYTES:
            found = data[start:until].decode()
    return found


def _int_or_string(data: bytes, at: int, end: int) -> int | str:
    number, text, is_text = 0, "", False
    for field, wire, value, start, until in _fields(data, at, end):
        if field == 1:
            is_text = value == 1
        elif field == 2:
            number = _value("int32", wire, value, data, 0, 0)
        elif field == 3:
            text = data[start:until].decode()
    return text if is_text else number


def _embedded_json(data: bytes, at: int, end: int) -> Any:
    raw = _text(data, at, end)
    try:
        return orjson.loads(raw) if raw else {}
    except orjson.JSONDecodeError as error:
        raise _Malformed(f"embedded JSON: {error}") from error


def _schema(data: bytes, at: int, end: int) -> Obj:
    """JSONSchemaProps; numbers travel as floating point, and whole ones are written as such."""
    found: Obj = _plain(_SCHEMA, data, at, end)
    for key in ("maximum", "minimum", "multipleOf"):
        if isinstance(found.get(key), float) and found[key].is_integer():
            found[key] = int(found[key])
    return found


def _schema_or_array(data: bytes, at: int, end: int) -> Any:
    fields = _fields(data, at, end)
    one = next((_schema(data, start, until) for number, _, _, start, until in fields if number == 1), None)
    return one if one is not None else [_schema(data, s, u) for number, _, _, s, u in fields if number == 2]


def _schema_or_bool(data: bytes, at: int, end: int) -> Any:
    allows = False
    for number, wire, value, start, until in _fields(data, at, end):
        if number == 2 and wire == _BYTES:
            return _schema(data, start, until)
        allows = value != 0
    return allows


def _schema_or_texts(data: bytes, at: int, end: int) -> Any:
    fields = _fields(data, at, end)
    one = next((_schema(data, start, until) for number, _, _, start, until in fields if number == 1), None)
    return one if one is not None else [data[s:u].decode() for number, _, _, s, u in fields if number == 2]


def _items(data: bytes, at: int, end: int) -> list[str]:
    return [data[start:until].decode() for number, _, _, start, until in _fields(data, at, end) if number == 1]


_SPECIAL: Final[dict[str, Callable[[bytes, int, int], Any]]] = {
    "meta.v1.Time": _time,
    "meta.v1.MicroTime": _micro_time,
    "meta.v1.FieldsV1": _embedded_json,
    "runtime.RawExtension": _embedded_json,
    "apiextensions.v1.JSON": _embedded_json,
    _SCHEMA: _schema,
    "apiextensions.v1.JSONSchemaPropsOrArray": _schema_or_array,
    "apiextensions.v1.JSONSchemaPropsOrBool": _schema_or_bool,
    "apiextensions.v1.JSONSchemaPropsOrStringArray": _schema_or_texts,
    "resource.Quantity": _text,
    "intstr.IntOrString": _int_or_string,
    "authentication.v1.ExtraValue": _items,
    "authorization.v1.ExtraValue": _items,
    "certificates.v1.ExtraValue": _items,
}
"""Messages that are no object in JSON."""
