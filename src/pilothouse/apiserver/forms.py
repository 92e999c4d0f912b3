"""Objects as clients asked for them: whole, as rows of a Table, or as their metadata alone. Pure."""

from __future__ import annotations

from typing import Any

import orjson

from pilothouse.apiserver import codec
from pilothouse.apiserver.accept import WHOLE, Form
from pilothouse.kinds.kind import Kind
from pilothouse.machinery.errors import BadRequest
from pilothouse.machinery.objects import Obj

_INCLUDE = frozenset({"None", "Metadata", "Object"})


class Renderer:
    """Writes objects of one kind in one form. `include` is the `includeObject` parameter of Tables."""

    def __init__(self, kind: Kind, form: Form, include: str = "") -> None:
        if form.as_kind == "Table" and include and include not in _INCLUDE:
            raise BadRequest(f'includeObject: Unsupported value: "{include}": supported values: None, Metadata, Object')
        self.kind = kind
        self.form = form
        self._include = include or "Metadata"
        self._api_version = f"meta.k8s.io/{form.version}"

    @property
    def whole(self) -> bool:
        return self.form == WHOLE

    def item(self, value: bytes) -> bytes:
        """One object: for a Table a row, else an object."""
        if self.whole:
            return value
        tree = codec.decode(value)
        if self.form.as_kind == "Table":
            return orjson.dumps(self._row(tree))
        return orjson.dumps(self._partial(tree))

    def single(self, value: bytes, *, columns: bool = True) -> bytes:
        """The answer to a get, or the object of a watch event (`columns` in the first event only)."""
        if self.form.as_kind != "Table":
            return self.item(value)
        tree = codec.decode(value)
        meta = {"resourceVersion": tree["metadata"].get("resourceVersion", "")}
        return orjson.dumps({**self._table(meta, columns), "rows": [self._row(tree)]})

    def list_head(self, meta: Obj) -> bytes:
        """What goes before the items of a list; they are joined by commas and followed by `]}`."""
        if self.whole:
            head: Obj = {"kind": self.kind.list_kind, "apiVersion": self.kind.resource.api_version}
            head["metadata"] = meta
            return orjson.dumps(head)[:-1] + b',"items":['
        if self.form.as_kind == "Table":
            return orjson.dumps(self._table(meta, True))[:-1] + b',"rows":['
        head = {"kind": "PartialObjectMetadataList", "apiVersion": self._api_version, "metadata": meta}
        return orjson.dumps(head)[:-1] + b',"items":['

    def _table(self, meta: Obj, columns: bool) -> Obj:
        definitions = [
            {
                "name": column.name,
                "type": column.type,
                "format": column.format,
                "description": column.description,
                "priority": column.priority,
            }
            for column in self.kind.columns
        ]
        return {
            "kind": "Table",
            "apiVersion": self._api_version,
            "metadata": meta,
            "columnDefinitions": definitions if columns else None,
        }

    def _row(self, tree: Obj) -> dict[str, Any]:
        row: dict[str, Any] = {"cells": [column.value(tree) for column in self.kind.columns]}
        if self._include == "Object":
            row["object"] = tree
        elif self._include == "Metadata":
            row["object"] = self._partial(tree)
        return row

    def _partial(self, tree: Obj) -> Obj:
        return {"kind": "PartialObjectMetadata", "apiVersion": self._api_version, "metadata": tree["metadata"]}
