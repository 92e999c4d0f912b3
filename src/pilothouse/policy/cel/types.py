"""CEL types: how variables are declared and what an expression gives."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple


class Type(NamedTuple):
    """A type by its CEL name, with parameters: `Type("list", (STRING,))`."""

    name: str
    params: tuple[Type, ...] = ()

    def __str__(self) -> str:
        return f"{self.name}({', '.join(map(str, self.params))})" if self.params else self.name


DYN = Type("dyn")
NULL = Type("null_type")
BOOL = Type("bool")
INT = Type("int")
UINT = Type("uint")
DOUBLE = Type("double")
STRING = Type("string")
BYTES = Type("bytes")
TIMESTAMP = Type("google.protobuf.Timestamp")
DURATION = Type("google.protobuf.Duration")
AUTHORIZER = Type("kubernetes.authorization.Authorizer")
RESOURCE_CHECK = Type("kubernetes.authorization.ResourceCheck")
QUANTITY = Type("kubernetes.Quantity")


def list_of(element: Type) -> Type:
    """A list of elements of one type."""
    return Type("list", (element,))


def map_of(value: Type, key: Type = STRING) -> Type:
    """A map."""
    return Type("map", (key, value))


def optional_of(inner: Type) -> Type:
    """An optional value."""
    return Type("optional_type", (inner,))


def spec(declared: Type) -> dict[str, Any]:
    """As the parser's configuration wants it. Upper case one-letter names stand for any type (`A`, `T`)."""
    found: dict[str, Any] = {"type_name": declared.name}
    if len(declared.name) == 1:
        found["is_type_param"] = True
    if declared.params:
        found["params"] = [spec(param) for param in declared.params]
    return found


def parse_type(text: str) -> Type:
    """Reads `list(map(string, A))`, as declarations are written."""
    found, rest = _parse(text.strip())
    if rest.strip():
        raise ValueError(f"not a type: {text}")
    return _NAMES.get(found.name, found) if not found.params else found


_NAMES: Mapping[str, Type] = {
    "timestamp": TIMESTAMP,
    "duration": DURATION,
    "Authorizer": AUTHORIZER,
    "PathCheck": Type("kubernetes.authorization.PathCheck"),
    "GroupCheck": Type("kubernetes.authorization.GroupCheck"),
    "ResourceCheck": RESOURCE_CHECK,
    "Decision": Type("kubernetes.authorization.Decision"),
    "Quantity": QUANTITY,
    "URL": Type("kubernetes.URL"),
    "IP": Type("net.IP"),
    "CIDR": Type("net.CIDR"),
    "Semver": Type("kubernetes.Semver"),
    "Format": Type("kubernetes.NamedFormat"),
    "optional": Type("optional_type"),
}


def _parse(text: str) -> tuple[Type, str]:
    text = text.lstrip()
    length = next((at for at, char in enumerate(text) if char in "(,) "), len(text))
    name, rest = text[:length], text[length:].lstrip()
    name = _NAMES[name].name if name in _NAMES else name
    params: list[Type] = []
    if rest.startswith("("):
        rest = rest[1:]
        while True:
            param, rest = _parse(rest)
            params.append(param)
            rest = rest.lstrip()
            if rest.startswith(")"):
                rest = rest[1:]
                break
            rest = rest.removeprefix(",")
    return Type(name, tuple(params)), rest
