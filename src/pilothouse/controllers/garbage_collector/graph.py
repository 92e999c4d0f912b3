"""Who owns whom, over objects of every kind. No I/O."""

from __future__ import annotations

from dataclasses import dataclass

from pilothouse.kinds.view import Object, OwnerReference
from pilothouse.machinery.objects import Resource

FOREGROUND = "foregroundDeletion"
ORPHAN = "orphan"


@dataclass(frozen=True, slots=True)
class Node:
    """The little of an object that ownership needs."""

    resource: Resource
    namespace: str
    name: str
    uid: str
    resource_version: str
    owners: tuple[OwnerReference, ...]
    deleting: bool
    finalizers: tuple[str, ...]

    @classmethod
    def of(cls, resource: Resource, obj: Object) -> Node:
        meta = obj.metadata
        return cls(
            resource,
            meta.namespace,
            meta.name,
            meta.uid,
            meta.resource_version,
            tuple(meta.owner_references),
            meta.deletion_timestamp is not None,
            tuple(meta.finalizers),
        )

    @property
    def deleting_dependents(self) -> bool:
        """True while it waits, in foreground deletion, for what it owns."""
        return self.deleting and FOREGROUND in self.finalizers

    @property
    def orphaning(self) -> bool:
        return self.deleting and ORPHAN in self.finalizers


class Graph:
    """Every live object of the collected kinds by uid, with the links to its owners."""

    def __init__(self) -> None:
        self._present: dict[str, Node] = {}
        self._dependents: dict[str, set[str]] = {}

    def put(self, node: Node) -> Node | None:
        """Adds or replaces; returns what was there before."""
        old = self._present.get(node.uid)
        self._present[node.uid] = node
        if old is None or old.owners != node.owners:
            self._unlink(old)
            for owner in node.owners:
                self._dependents.setdefault(owner.uid, set()).add(node.uid)
        return old

    def remove(self, uid: str) -> Node | None:
        node = self._present.pop(uid, None)
        self._unlink(node)
        return node

    def _unlink(self, node: Node | None) -> None:
        for owner in node.owners if node is not None else ():
            members = self._dependents.get(owner.uid)
            if members is not None and node is not None:
                members.discard(node.uid)
                if not members:
                    del self._dependents[owner.uid]

    def get(self, uid: str) -> Node | None:
        return self._present.get(uid)

    def dependents(self, uid: str) -> list[Node]:
        """What names this uid as its owner, in a stable order."""
        found = (self._present[member] for member in self._dependents.get(uid, ()) if member in self._present)
        return sorted(found, key=lambda node: (node.resource, node.namespace, node.name))

    def nodes(self) -> list[Node]:
        return list(self._present.values())
