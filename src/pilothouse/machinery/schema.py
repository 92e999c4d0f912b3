"""The published Kubernetes 1.35 schemas, read on demand and kept in a compact form.

The schemas ship in the package `kubernetes-validate`; its data is read without importing it, since its code pulls
in a JSON Schema library that nothing here needs. Of the 1.5 MB file only the place of each definition is kept;
a definition is decoded when something first descends into it, and its descriptions are not kept at all.

What the published set lacks is added here: scalar defaults of fields that are keys of lists, which server-side
apply cannot do without, and plain types in place of `[X, null]` and `oneOf`.
"""

from __future__ import annotations

import importlib.util
from collections.abc import KeysView, Mapping
from functools import lru_cache
from pathlib import Path
from typing import Any, Final, NamedTuple

import msgspec
import orjson

from pilothouse.machinery.guard_schemas import GUARD_DEFINITIONS

KUBERNETES_VERSION: Final = "1.35"
_DIRECTORY: Final = "v1.35.0-local"
_REF_PREFIX: Final = "#/$defs/"

INT_OR_STRING: Final = "io.k8s.apimachinery.pkg.util.intstr.IntOrString"
QUANTITY: Final = "io.k8s.apimachinery.pkg.api.resource.Quantity"

KEY_DEFAULTS: Final[Mapping[tuple[str, str], Any]] = {
    ("io.k8s.api.core.v1.ContainerPort", "protocol"): "TCP",
    ("io.k8s.api.core.v1.ServicePort", "protocol"): "TCP",
    ("io.k8s.api.core.v1.LocalObjectReference", "name"): "",
}
"""Defaults that upstream publishes and the packaged set leaves out, for fields that are (part of) a list's key."""


class Node:
    """The shape of one value. `type` is one of object (named properties), map (free keys, one shape of value),
    array, string, integer, number, boolean, int-or-string, quantity, any (not looked into)."""

    __slots__ = (
        "_items",
        "_items_source",
        "_properties",
        "_properties_source",
        "atomic",
        "compiled",
        "default",
        "definition",
        "format",
        "list_map_keys",
        "list_type",
        "merge_key",
        "nullable",
        "patch_strategy",
        "required",
        "rest",
        "type",
    )

    def __init__(self, type_: str, definition: str = "") -> None:
        self.type = type_
        self.definition = definition
        """The published name of the type, empty for one written in place."""
        self.format = ""
        self.list_type = "atomic"
        """atomic, set or map, for arrays."""
        self.list_map_keys: tuple[str, ...] = ()
        self.merge_key = ""
        self.patch_strategy: frozenset[str] = frozenset()
        """Of strategic merge: any of merge, replace, retainKeys."""
        self.required: frozenset[str] = frozenset()
        self.nullable = True
        self.atomic = False
        """Owned as a whole by server-side apply (`x-kubernetes-map-type: atomic`)."""
        self.default: Any = None
        self.rest: Node | None = None
        """The shape of an object's other fields, None when there are none."""
        self.compiled: dict[str, Any] = {}
        """Where machinery that compiles a node keeps what it made of it."""
        self._properties: dict[str, Node] | None = None
        self._properties_source: dict[str, Any] | None = None
        self._items: Node | None = None
        self._items_source: dict[str, Any] | None = None

    def of(self, *, properties: dict[str, Node] | None = None, items: Node | None = None) -> Node:
        """This node with its inner shapes given, for schemas that are not published ones."""
        self._properties, self._items = properties, items
        return self

    @property
    def properties(self) -> dict[str, Node]:
        """The fields of an object; empty for other types."""
        if self._properties is None:
            source = self._properties_source
            if source is None and self.definition:
                source = _definitions().read(self.definition).get("properties") or {}
            self._properties = {
                name: _field_node(self.definition, name, field) for name, field in (source or {}).items()
            }
            self._properties_source = None
        return self._properties

    @property
    def items(self) -> Node:
        """The shape of an array's entries or of a map's values."""
        if self._items is None:
            self._items = _node(self._items_source or {})
            self._items_source = None
        return self._items

    def __repr__(self) -> str:
        return f"Node({self.type}{' ' + self.definition if self.definition else ''})"


class GroupVersionKind(NamedTuple):
    group: str
    version: str
    kind: str


class Schema(NamedTuple):
    """The schema of one kind."""

    gvk: GroupVersionKind
    root: Node


class UnknownKind(LookupError):
    """No published schema has this group, version and kind."""


def schema_for(group: str, version: str, kind: str) -> Schema:
    """The schema of a built-in kind. Raises UnknownKind."""
    return _schema(GroupVersionKind(group, version, kind))


@lru_cache(maxsize=256)
def _schema(gvk: GroupVersionKind) -> Schema:
    name = _definitions().name_of(gvk)
    if name is None:
        api_version = f"{gvk.group}/{gvk.version}" if gvk.group else gvk.version
        raise UnknownKind(f"Kubernetes {KUBERNETES_VERSION} has no schema of {api_version} {gvk.kind}")
    return Schema(gvk, definition_node(name))


def definition_name(group: str, version: str, kind: str) -> str | None:
    """The published name of a kind's type, such as `io.k8s.api.apps.v1.Deployment`."""
    return _definitions().name_of(GroupVersionKind(group, version, kind))


def published_kinds() -> frozenset[GroupVersionKind]:
    """Every kind of the published set, stable or not, lists and options too."""
    return frozenset(_definitions().kinds)


def raw_definition(name: str) -> dict[str, Any]:
    """A definition as published, freshly decoded. Raises KeyError."""
    return _definitions().read(name)


class _Document(msgspec.Struct, rename={"defs": "$defs"}):
    defs: dict[str, msgspec.Raw]


class _Kind(msgspec.Struct):
    group: str
    version: str
    kind: str


class _Kinds(msgspec.Struct, rename={"kinds": "x-kubernetes-group-version-kind"}):
    kinds: list[_Kind] = []


class _Definitions:
    """The places of the definitions in the packaged file."""

    def __init__(self, path: Path) -> None:
        self._path = path
        data = path.read_bytes()
        self._places: dict[str, tuple[int, int]] = {}
        self._names: dict[GroupVersionKind, str] = {}
        position = 0
        decoder = msgspec.json.Decoder(_Kinds)
        for name, raw in msgspec.json.decode(data, type=_Document).defs.items():
            text = bytes(raw)
            position = data.index(text, position)
            self._places[name] = (position, len(text))
            position += len(text)
            if b"x-kubernetes-group-version-kind" in text:
                for entry in decoder.decode(text).kinds:
                    self._names.setdefault(GroupVersionKind(entry.group, entry.version, entry.kind), name)
        for name, own in GUARD_DEFINITIONS.items():
            for kind in own.get("x-kubernetes-group-version-kind", ()):
                self._names[GroupVersionKind(**kind)] = name

    @property
    def kinds(self) -> KeysView[GroupVersionKind]:
        return self._names.keys()

    def name_of(self, gvk: GroupVersionKind) -> str | None:
        return self._names.get(gvk)

    def read(self, name: str) -> dict[str, Any]:
        if name in GUARD_DEFINITIONS:
            return GUARD_DEFINITIONS[name]
        start, length = self._places[name]
        with self._path.open("rb") as file:
            file.seek(start)
            definition: dict[str, Any] = orjson.loads(file.read(length))
        return definition


@lru_cache(maxsize=1)
def _definitions() -> _Definitions:
    spec = importlib.util.find_spec("kubernetes_validate")
    if spec is None or not spec.submodule_search_locations:
        raise RuntimeError(
            "the package kubernetes-validate is not installed: reinstall Pilothouse with its dependencies"
        )
    root = Path(spec.submodule_search_locations[0])
    return _Definitions(root / "kubernetes-json-schema" / _DIRECTORY / "_definitions.json")


@lru_cache(maxsize=1024)
def definition_node(name: str) -> Node:
    """The shape of a published type. Raises KeyError."""
    if name == INT_OR_STRING:
        return Node("int-or-string", name)
    if name == QUANTITY:
        return Node("quantity", name)
    return _fill(_definitions().read(name), name)


@lru_cache(maxsize=64)
def _scalar_node(type_: str, format_: str, nullable: bool) -> Node:
    node = Node(type_)
    node.format = format_
    node.nullable = nullable
    return node


_DIRECTIVES = frozenset(("x-kubernetes-patch-strategy", "x-kubernetes-patch-merge-key", "x-kubernetes-map-type"))


def _field_node(owner: str, name: str, source: dict[str, Any]) -> Node:
    node = _node(source)
    default = KEY_DEFAULTS.get((owner, name), source.get("default"))
    if default is not None:
        node = _copy(node)
        node.default = default
    return node


def _node(source: dict[str, Any]) -> Node:
    ref = source.get("$ref")
    if ref is None:
        return _fill(source, "")
    node = definition_node(ref.removeprefix(_REF_PREFIX))
    if _DIRECTIVES.isdisjoint(source):
        return node
    node = _copy(node)
    _directives(node, source)
    return node


def _copy(node: Node) -> Node:
    twin = Node(node.type, node.definition)
    for slot in Node.__slots__:
        if slot != "compiled":
            setattr(twin, slot, getattr(node, slot))
    return twin


def _directives(node: Node, source: dict[str, Any]) -> None:
    strategy = source.get("x-kubernetes-patch-strategy")
    if strategy:
        node.patch_strategy = frozenset(strategy.split(","))
    node.merge_key = source.get("x-kubernetes-patch-merge-key", node.merge_key)
    node.atomic = node.atomic or source.get("x-kubernetes-map-type") == "atomic"


def _fill(source: dict[str, Any], definition: str) -> Node:
    type_, nullable = _type(source)
    if type_ == "object":
        if source.get("properties"):
            node = Node("object", definition)
            node._properties_source = None if definition else source["properties"]
        elif "additionalProperties" in source and isinstance(source["additionalProperties"], dict):
            node = Node("map", definition)
            node._items_source = source["additionalProperties"]
        else:
            node = Node("any", definition)
    elif type_ == "array":
        node = Node("array", definition)
        node._items_source = source.get("items") or {}
        node.list_type = source.get("x-kubernetes-list-type", "atomic")
        node.list_map_keys = tuple(source.get("x-kubernetes-list-map-keys") or ())
    else:
        if not definition:
            return _scalar_node(type_, source.get("format", ""), nullable)
        node = Node(type_, definition)
        node.format = source.get("format", "")
    node.nullable = nullable
    node.required = frozenset(source.get("required") or ())
    _directives(node, source)
    return node


def _type(source: dict[str, Any]) -> tuple[str, bool]:
    found = source.get("type", "any")
    if isinstance(found, list):
        return next((str(name) for name in found if name != "null"), "any"), "null" in found
    return str(found), False
