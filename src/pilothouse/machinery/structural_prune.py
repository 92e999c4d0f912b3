"""Brings a custom resource to its schema's shape: unknown fields and nulls out, defaults in.

Source: Kubernetes documentation, "Field pruning", "Defaulting" and "Defaulting and Nullable".
"""

from __future__ import annotations

import copy
from typing import Any

from pilothouse.machinery.objects import Obj
from pilothouse.machinery.schema import GroupVersionKind, Schema
from pilothouse.machinery.structural import Examination, UnknownField, examine
from pilothouse.machinery.structural_schema import ABSENT, Structural, object_meta

_TYPE_META = frozenset({"apiVersion", "kind", "metadata"})
_META = GroupVersionKind("meta.k8s.io", "v1", "ObjectMeta")


def shape(schema: Structural, tree: Obj) -> Examination:
    """Drops, in place, what the schema does not know and nulls that mean "not given".

    Causes are about `metadata` only: whether the rest has the right types is for validation to say.
    """
    walk = _Pruning()
    walk.resource(schema, tree, "")
    return Examination(tree, tuple(walk.causes), tuple(walk.unknown))


class _Pruning:
    def __init__(self) -> None:
        self.causes: list[Any] = []
        self.unknown: list[UnknownField] = []

    def resource(self, schema: Structural, tree: Obj, prefix: str) -> None:
        """The root, or an embedded resource."""
        self._metadata(tree, prefix)
        for name in list(tree):
            if name not in _TYPE_META:
                self._field(schema, tree, name, prefix)

    def _metadata(self, tree: Obj, prefix: str) -> None:
        meta = tree.get("metadata")
        if meta is None:
            tree.pop("metadata", None)
            return
        found = examine(Schema(_META, object_meta()), meta)
        path = f"{prefix}metadata"
        self.causes += [
            cause._replace(
                field=f"{path}.{cause.field}" if cause.field else path,
                message=cause.message.replace(f" {cause.field} must", f" {path}.{cause.field} must", 1),
            )
            for cause in found.causes
        ]
        self.unknown += [UnknownField(f"{path}.{field.path}") for field in found.unknown]
        tree["metadata"] = found.tree

    def _field(self, schema: Structural, tree: Obj, name: str, prefix: str) -> None:
        child = schema.properties.get(name)
        if child is None and schema.additional is not None:
            if tree[name] is not None:
                self.value(schema.additional, tree[name], prefix + name)
        elif child is None:
            if not schema.preserve:
                self.unknown.append(UnknownField(prefix + name))
                del tree[name]
        elif tree[name] is None:
            if not child.nullable:
                del tree[name]
        else:
            self.value(child, tree[name], prefix + name)

    def value(self, schema: Structural, value: Any, path: str) -> None:
        if type(value) is dict:
            if schema.embedded:
                self.resource(schema, value, f"{path}.")
            elif schema.properties or schema.additional is not None or not schema.preserve:
                for name in list(value):
                    self._field(schema, value, name, f"{path}.")
        elif type(value) is list and schema.items is not None:
            for index, item in enumerate(value):
                self.value(schema.items, item, f"{path}[{index}]")


def fill_in(schema: Structural, value: Any) -> None:
    """Puts defaults in, in place: for fields left out, and nulls where null is not a value."""
    if not schema.defaulting:
        return
    if type(value) is dict:
        for name, child in schema.properties.items():
            if child.default is not ABSENT and _missing(child, value, name):
                value[name] = copy.deepcopy(child.default)
            if child.defaulting and name in value:
                fill_in(child, value[name])
        if schema.additional is not None and schema.additional.defaulting:
            _fill_in_entries(schema, schema.additional, value)
    elif type(value) is list and schema.items is not None and schema.items.defaulting:
        for index, item in enumerate(value):
            if item is None and not schema.items.nullable and schema.items.default is not ABSENT:
                value[index] = copy.deepcopy(schema.items.default)
            fill_in(schema.items, value[index])


def _fill_in_entries(schema: Structural, entry: Structural, value: Obj) -> None:
    for name in value:
        if name in schema.properties:
            continue
        if value[name] is None and not entry.nullable and entry.default is not ABSENT:
            value[name] = copy.deepcopy(entry.default)
        fill_in(entry, value[name])


def _missing(child: Structural, tree: Obj, name: str) -> bool:
    return name not in tree or (tree[name] is None and not child.nullable)
