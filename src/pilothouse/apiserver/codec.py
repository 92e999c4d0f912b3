"""Between JSON trees and the bytes the store keeps, and the keys they are kept under."""

from __future__ import annotations

from typing import Any

import orjson

from pilothouse.machinery.objects import Obj, Resource
from pilothouse.store.store import Record, splice

_META_FIRST = ("name", "generateName", "namespace", "uid", "generation", "creationTimestamp")


def collection(resource: Resource) -> str:
    """The store's prefix of a kind: `group/plural/`."""
    return f"{resource.group or 'core'}/{resource.plural}/"


def prefix(resource: Resource, namespace: str) -> str:
    """The store's prefix of a kind in a namespace, or in all."""
    base = collection(resource)
    return f"{base}{namespace}/" if namespace and resource.namespaced else base


def key(resource: Resource, namespace: str, name: str) -> str:
    """The store's key of an object."""
    return f"{prefix(resource, namespace)}{name}"


def encode(obj: Obj) -> bytes:
    """The bytes to store: kind, apiVersion and metadata first, without resourceVersion."""
    meta = {name: value for name, value in obj["metadata"].items() if name != "resourceVersion" and value not in _EMPTY}
    ordered: dict[str, Any] = {name: meta.pop(name) for name in _META_FIRST if name in meta}
    ordered.update(meta)
    head = {"kind": obj["kind"], "apiVersion": obj["apiVersion"], "metadata": ordered}
    return orjson.dumps({**head, **{name: value for name, value in obj.items() if name not in head}})


_EMPTY: tuple[Any, ...] = (None, "", {}, [])


def decode(value: bytes) -> Obj:
    """A fresh tree."""
    tree: Obj = orjson.loads(value)
    return tree


def dump(tree: Obj) -> bytes:
    """The tree as JSON, as it is."""
    return orjson.dumps(tree)


def preview(key: str, value: bytes, revision: int) -> Record:
    """What a write that was not carried out would have stored; revision 0 stands for none."""
    return Record(key, revision, splice(value, revision) if revision else value)
