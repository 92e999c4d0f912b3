"""Reads objects straight from the store, for the parts of the chain (see `chain.ObjectReader`)."""

from __future__ import annotations

import builtins

from pilothouse.apiserver import codec
from pilothouse.machinery.objects import Obj, Resource
from pilothouse.store.store import Store


class StoreReader:
    """An `ObjectReader`."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def get(self, resource: Resource, namespace: str, name: str) -> Obj | None:
        record = self._store.get(codec.key(resource, namespace, name))
        return None if record is None else codec.decode(record.value)

    def list(self, resource: Resource, namespace: str = "") -> builtins.list[Obj]:
        return [codec.decode(record.value) for record in self._store.list(codec.prefix(resource, namespace))]

    def revision(self, resource: Resource) -> int:
        return self._store.changed(codec.collection(resource))
