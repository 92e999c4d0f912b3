"""Encodes trees by the table of messages, to check the decoder against."""

from __future__ import annotations

import base64
import datetime as dt
import struct
from typing import Any

import orjson

from pilothouse.machinery.protobuf.decode import MAGIC
from pilothouse.machinery.protobuf.table import message_of, plan


def varint(number: int) -> bytes:
    number &= 0xFFFFFFFFFFFFFFFF
    out = bytearray()
    while number >= 0x80:
        out.append(number & 0x7F | 0x80)
        number >>= 7
    return bytes([*out, number])


def blob(number: int, data: bytes) -> bytes:
    return varint(number << 3 | 2) + varint(len(data)) + data


def field(number: int, type_: str, value: Any) -> bytes:
    if type_ in ("bool", "int32", "int64"):
        return varint(number << 3) + varint(int(value))
    if type_ == "double":
        return varint(number << 3 | 1) + struct.pack("<d", value)
    if type_ == "string":
        return blob(number, value.encode())
    if type_ == "bytes":
        return blob(number, base64.b64decode(value))
    return blob(number, message(type_, value))


def message(name: str, value: Any) -> bytes:
    if name == "resource.Quantity":
        return blob(1, value.encode())
    if name in ("meta.v1.Time", "meta.v1.MicroTime"):
        moment = dt.datetime.fromisoformat(value)
        return field(1, "int64", int(moment.timestamp())) + field(2, "int32", moment.microsecond * 1000)
    if name.startswith("apiextensions.v1.JSONSchemaPropsOr"):
        schema = "apiextensions.v1.JSONSchemaProps"
        if isinstance(value, bool):
            return field(1, "bool", value)
        if isinstance(value, dict) and name.endswith("OrBool"):
            return field(1, "bool", True) + blob(2, message(schema, value))
        if isinstance(value, dict):
            return blob(1, message(schema, value))
        return b"".join(blob(2, item.encode() if isinstance(item, str) else message(schema, item)) for item in value)
    if name in ("meta.v1.FieldsV1", "runtime.RawExtension", "apiextensions.v1.JSON"):
        return blob(1, orjson.dumps(value))
    if name.endswith(".ExtraValue"):
        return b"".join(blob(1, item.encode()) for item in value)
    if name == "intstr.IntOrString":
        if isinstance(value, str):
            return field(1, "int64", 1) + field(3, "string", value)
        return field(1, "int64", 0) + field(2, "int32", value)
    out = b""
    for number, entry in plan(name).items():
        if not entry.name:
            out += blob(number, message(entry.type, value))
        elif entry.name in value:
            item = value[entry.name]
            if entry.shape == "list":
                out += b"".join(field(number, entry.type, one) for one in item)
            elif entry.shape == "map":
                out += b"".join(
                    blob(number, field(1, "string", key) + field(2, entry.type, one)) for key, one in item.items()
                )
            else:
                out += field(number, entry.type, item)
    return out


def encode(tree: dict[str, Any]) -> bytes:
    name = message_of(tree["apiVersion"], tree["kind"])
    assert name is not None
    kind = blob(1, tree["apiVersion"].encode()) + blob(2, tree["kind"].encode())
    return MAGIC + blob(1, kind) + blob(2, message(name, tree)) + blob(3, b"") + blob(4, b"")
