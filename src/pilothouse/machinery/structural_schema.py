"""The schema of a custom resource: `openAPIV3Schema` of a CustomResourceDefinition, read into one node per value.

A structural schema says the type of every value outside of its logical junctors, so that pruning, defaulting and
server-side apply can go by it. Source: Kubernetes documentation, "Specifying a structural schema".
"""

from __future__ import annotations

from typing import Any, Final

from pilothouse.machinery.objects import Obj
from pilothouse.machinery.schema import Node, definition_node

DEPTH_LIMIT: Final = 64
"""Levels a schema may have: walks over objects go as deep as their schema."""
ABSENT: Final = object()
"""Stands for "no default", as a default may be null."""
_OBJECT_META: Final = "io.k8s.apimachinery.pkg.apis.meta.v1.ObjectMeta"
_RULES: Final = frozenset(
    {
        "enum",
        "exclusiveMaximum",
        "exclusiveMinimum",
        "format",
        "maxItems",
        "maxLength",
        "maxProperties",
        "maximum",
        "minItems",
        "minLength",
        "minProperties",
        "minimum",
        "multipleOf",
        "pattern",
    }
)
_JUNCTORS: Final = ("allOf", "anyOf", "oneOf")


class TooDeep(ValueError):
    """A schema has more than `DEPTH_LIMIT` levels."""


class Structural:
    """The schema of one value. `type` is "" where none is given."""

    __slots__ = (
        "additional",
        "atomic_map",
        "compiled",
        "default",
        "defaulting",
        "embedded",
        "int_or_string",
        "items",
        "junctors",
        "list_map_keys",
        "list_type",
        "negated",
        "nullable",
        "preserve",
        "properties",
        "required",
        "rules",
        "source",
        "type",
        "validated",
        "validations",
    )

    def __init__(self, source: Obj, depth: int = 0) -> None:
        if depth > DEPTH_LIMIT:
            raise TooDeep(f"must not be nested deeper than {DEPTH_LIMIT} levels")
        self.type: str = source.get("type") or ""
        self.nullable = bool(source.get("nullable"))
        self.preserve = bool(source.get("x-kubernetes-preserve-unknown-fields"))
        self.embedded = bool(source.get("x-kubernetes-embedded-resource"))
        self.int_or_string = bool(source.get("x-kubernetes-int-or-string"))
        self.list_type: str = source.get("x-kubernetes-list-type") or "atomic"
        self.list_map_keys = tuple(source.get("x-kubernetes-list-map-keys") or ())
        self.atomic_map = source.get("x-kubernetes-map-type") == "atomic"
        self.default: Any = source.get("default", ABSENT)
        self.required = tuple(source.get("required") or ())
        self.rules: Obj = {key: source[key] for key in _RULES & source.keys()}
        self.source = source if source.get("x-kubernetes-validations") else {}
        """What it was read from, kept where rules need the types of all below."""
        self.validations: tuple[Obj, ...] = tuple(source.get("x-kubernetes-validations") or ())
        self.properties = {
            name: Structural(child, depth + 1) for name, child in (source.get("properties") or {}).items()
        }
        items, additional = source.get("items"), source.get("additionalProperties")
        self.items = Structural(items, depth + 1) if isinstance(items, dict) else None
        self.additional: Structural | None = None
        """The shape of values under free keys; any value when `additionalProperties` is just true."""
        if isinstance(additional, dict):
            self.additional = Structural(additional, depth + 1)
        elif additional is True:
            self.additional = Structural({"x-kubernetes-preserve-unknown-fields": True}, depth + 1)
        self.junctors = [
            (name, [Structural(child, depth + 1) for child in source[name]]) for name in _JUNCTORS if source.get(name)
        ]
        self.negated = Structural(source["not"], depth + 1) if isinstance(source.get("not"), dict) else None
        self.compiled: dict[str, Any] = {}
        """Where machinery keeps what it made of this node."""
        children = self.children
        self.defaulting: bool = self.default is not ABSENT or any(child.defaulting for child in children)
        """Whether there is a default here or below."""
        self.validated: bool = bool(self.validations) or any(child.validated for child in children)
        """Whether there is a CEL rule here or below."""

    @property
    def children(self) -> list[Structural]:
        """The schemas of what is directly inside, junctors left out."""
        found = list(self.properties.values())
        return found + [child for child in (self.items, self.additional) if child is not None]

    def child(self, name: str) -> Structural | None:
        """The schema of a field, None when there is none for it."""
        return self.properties.get(name) or self.additional


_UNTYPED = Node("map")
_UNTYPED.of(items=_UNTYPED)
"""Of fields no schema tells about: maps are owned key by key, all else as a whole."""


def apply_node(schema: Structural, *, root: bool = False) -> Node:
    """The shape server-side apply goes by; `root` and embedded resources have the metadata every object has."""
    if schema.int_or_string:
        node = Node("int-or-string")
    elif schema.type == "array":
        node = Node("array").of(items=apply_node(schema.items) if schema.items is not None else _UNTYPED)
        node.list_type, node.list_map_keys = schema.list_type, schema.list_map_keys
    elif schema.type in ("string", "integer", "number", "boolean"):
        node = Node(schema.type)
    elif schema.additional is not None and not schema.properties:
        node = Node("map").of(items=apply_node(schema.additional))
    elif schema.type == "object" and (schema.properties or root or schema.embedded or not schema.preserve):
        node = _object_node(schema, root or schema.embedded)
    else:
        node = Node("map").of(items=_UNTYPED)
    node.nullable = schema.nullable
    node.atomic = schema.atomic_map
    node.default = None if schema.default is ABSENT else schema.default
    return node


def _object_node(schema: Structural, resource: bool) -> Node:
    properties = {name: apply_node(child) for name, child in schema.properties.items()}
    if resource:
        properties |= {"apiVersion": Node("string"), "kind": Node("string"), "metadata": object_meta()}
    node = Node("object").of(properties=properties)
    if schema.preserve or schema.additional is not None:
        node.rest = _UNTYPED
    node.required = frozenset(schema.required)
    return node


def object_meta() -> Node:
    """The published shape of `metadata`."""
    return definition_node(_OBJECT_META)
