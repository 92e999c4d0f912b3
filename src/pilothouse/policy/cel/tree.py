"""The checked tree of an expression, read from the bytes in which the parser hands it out.

Source of the numbers: `cel/expr/checked.proto` and `syntax.proto` of the CEL specification.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from pilothouse.policy.cel import types
from pilothouse.policy.cel.types import Type
from pilothouse.policy.cel.values import UInt


@dataclass(slots=True)
class Const:
    """A literal."""

    id: int
    value: Any


@dataclass(slots=True)
class Ident:
    """A variable, by its full name (`variables.x` is one)."""

    id: int
    name: str


@dataclass(slots=True)
class Select:
    """`operand.field`, or `has(operand.field)`."""

    id: int
    operand: Node
    field: str
    test_only: bool


@dataclass(slots=True)
class Call:
    """A function; the target of a member function is the first argument."""

    id: int
    function: str
    args: list[Node]
    member: bool
    overloads: tuple[str, ...] = ()


@dataclass(slots=True)
class MakeList:
    """`[a, ?b]`; `optional` holds the indices of elements with a question mark."""

    id: int
    elements: list[Node]
    optional: frozenset[int]


@dataclass(slots=True)
class MakeMap:
    """`{k: v, ?k: v}`, each entry with whether it is optional."""

    id: int
    entries: list[tuple[Node, Node, bool]]


@dataclass(slots=True)
class MakeStruct:
    """`Type{field: value}`."""

    id: int
    name: str
    entries: list[tuple[str, Node, bool]]


@dataclass(slots=True)
class Fold:
    """A comprehension, which every macro is written out as."""

    id: int
    iter_var: str
    iter_var2: str
    iter_range: Node
    accu_var: str
    accu_init: Node
    condition: Node
    step: Node
    result: Node


Node = Const | Ident | Select | Call | MakeList | MakeMap | MakeStruct | Fold


@dataclass(slots=True)
class Checked:
    """An expression's tree, what it gives, and where its nodes stand in the text (characters from 0)."""

    root: Node
    result: Type
    types: dict[int, Type] = field(default_factory=dict)
    positions: dict[int, int] = field(default_factory=dict)


_PRIMITIVES = {1: types.BOOL, 2: types.INT, 3: types.UINT, 4: types.DOUBLE, 5: types.STRING, 6: types.BYTES}
_WELL_KNOWN = {1: types.DYN, 2: types.TIMESTAMP, 3: types.DURATION}


def read(data: bytes) -> Checked:
    """The tree in a serialized `Any` that holds a `CheckedExpr`."""
    return _Reader(dict(_fields(data))[2]).checked


class _Reader:
    def __init__(self, data: bytes) -> None:
        self._names: dict[int, str] = {}
        self._overloads: dict[int, tuple[str, ...]] = {}
        self._constants: dict[int, Any] = {}
        found: dict[int, Type] = {}
        positions: dict[int, int] = {}
        expression = b""
        for number, value in _fields(data):
            if number == 2:
                self._reference(*_entry(value))
            elif number == 3:
                key, inner = _entry(value)
                found[key] = _type(inner)
            elif number == 4:
                expression = value
            elif number == 5:
                positions = dict(_position(inner) for n, inner in _fields(value) if n == 4)
        root = self._node(expression)
        self.checked = Checked(root, found.get(root.id, types.DYN), found, positions)

    def _reference(self, key: int, data: bytes) -> None:
        overloads = []
        for number, value in _fields(data):
            if number == 1:
                self._names[key] = value.decode()
            elif number == 3:
                overloads.append(value.decode())
            elif number == 4:
                self._constants[key] = _constant(value)
        if overloads:
            self._overloads[key] = tuple(overloads)

    def _node(self, data: bytes) -> Node:
        key, kind, body = 0, 0, b""
        for number, value in _fields(data):
            if number == 2:
                key = value
            else:
                kind, body = number, value
        if key in self._constants:
            return Const(key, self._constants[key])
        if kind in (4, 5) and key in self._names and not _is_test(kind, body):
            return Ident(key, self._names[key])
        return self._of_kind(key, kind, body)

    def _of_kind(self, key: int, kind: int, body: bytes) -> Node:
        if kind == 3:
            return Const(key, _constant(body))
        if kind == 4:
            return Ident(key, _text(body, 1))
        if kind == 5:
            parts = dict(_fields(body))
            return Select(key, self._node(parts[1]), parts[2].decode(), bool(parts.get(3)))
        if kind == 6:
            return self._call(key, body)
        if kind == 7:
            elements = [self._node(value) for number, value in _fields(body) if number == 1]
            return MakeList(key, elements, frozenset(_numbers(body, 2)))
        if kind == 8:
            return self._struct(key, body)
        return self._fold(key, body)

    def _call(self, key: int, body: bytes) -> Call:
        target: Node | None = None
        function, args = "", []
        for number, value in _fields(body):
            if number == 1:
                target = self._node(value)
            elif number == 2:
                function = value.decode()
            elif number == 3:
                args.append(self._node(value))
        function = self._names.get(key) or function
        whole = args if target is None else [target, *args]
        return Call(key, function, whole, target is not None, self._overloads.get(key, ()))

    def _struct(self, key: int, body: bytes) -> MakeMap | MakeStruct:
        name = _text(body, 1)
        fields: list[tuple[str, Node, bool]] = []
        entries: list[tuple[Node, Node, bool]] = []
        for number, value in _fields(body):
            if number != 2:
                continue
            parts = dict(_fields(value))
            inner, optional = self._node(parts[4]), bool(parts.get(5))
            if 3 in parts:
                entries.append((self._node(parts[3]), inner, optional))
            else:
                fields.append((parts.get(2, b"").decode(), inner, optional))
        return MakeStruct(key, name, fields) if name else MakeMap(key, entries)

    def _fold(self, key: int, body: bytes) -> Fold:
        parts = dict(_fields(body))
        return Fold(
            key,
            parts.get(1, b"").decode(),
            parts.get(8, b"").decode(),
            self._node(parts[2]),
            parts[3].decode(),
            self._node(parts[4]),
            self._node(parts[5]),
            self._node(parts[6]),
            self._node(parts[7]),
        )


def _is_test(kind: int, body: bytes) -> bool:
    return kind == 5 and bool(dict(_fields(body)).get(3))


def _text(data: bytes, number: int) -> str:
    found = dict(_fields(data)).get(number, b"")
    return found.decode() if isinstance(found, bytes) else ""


def _constant(data: bytes) -> Any:
    for number, value in _fields(data):
        if number == 2:
            return bool(value)
        if number == 3:
            return value - (1 << 64) if value >> 63 else value
        if number == 4:
            return UInt(value)
        if number == 5:
            return struct.unpack("<d", value)[0]
        if number == 6:
            return value.decode()
        if number == 7:
            return value
    return None


def _type(data: bytes) -> Type:
    for number, value in _fields(data):
        if number == 2:
            return types.NULL
        if number in (3, 4):
            return _PRIMITIVES.get(value, types.DYN)
        if number == 5:
            return _WELL_KNOWN.get(value, types.DYN)
        if number == 6:
            return types.list_of(_type(dict(_fields(value)).get(1, b"")))
        if number == 7:
            parts = dict(_fields(value))
            return types.map_of(_type(parts.get(2, b"")), _type(parts.get(1, b"")))
        if number == 9:
            return Type(value.decode())
        if number == 11:
            return Type("type", (_type(value),) if value else ())
        if number == 14:
            params = tuple(_type(inner) for n, inner in _fields(value) if n == 2)
            return Type(_text(value, 1), params)
    return types.DYN


def _entry(data: bytes) -> tuple[int, bytes]:
    parts = dict(_fields(data))
    return parts.get(1, 0), parts.get(2, b"")


def _position(data: bytes) -> tuple[int, int]:
    parts = dict(_fields(data))
    return parts.get(1, 0), parts.get(2, 0)


def _numbers(data: bytes, wanted: int) -> Iterator[int]:
    """A repeated integer, packed or not."""
    for number, value in _fields(data):
        if number != wanted:
            continue
        if isinstance(value, int):
            yield value
            continue
        at = 0
        while at < len(value):
            entry, at = _varint(value, at)
            yield entry


def _fields(data: bytes) -> Iterator[tuple[int, Any]]:
    at = 0
    while at < len(data):
        tag, at = _varint(data, at)
        wire = tag & 7
        if wire == 0:
            value, at = _varint(data, at)
            yield tag >> 3, value
            continue
        if wire == 2:
            length, at = _varint(data, at)
        else:
            length = 8 if wire == 1 else 4
        yield tag >> 3, data[at : at + length]
        at += length


def _varint(data: bytes, at: int) -> tuple[int, int]:
    result = shift = 0
    while True:
        byte = data[at]
        at += 1
        result |= (byte & 0x7F) << shift
        if byte < 0x80:
            return result, at
        shift += 7
