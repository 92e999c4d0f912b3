"""Objects as the live checks keep them: encoded, without what no check reads.

A decoded pod takes 26 kB and is looked at by every garbage collection; its document takes 3 kB. What is left out is
what changes without anybody changing the object (status, versions), and the values of Secrets, of which only keys are
read.
"""

from __future__ import annotations

from functools import cache
from typing import ClassVar

import msgspec
import orjson

from pilothouse.guard.podspec import WORKLOADS
from pilothouse.kinds.view import Object
from pilothouse.machinery.objects import Obj, Resource

_MANAGED = WORKLOADS - {"Pod"}
_DROPPED = ("managedFields", "resourceVersion", "generation", "selfLink")


class Taken(Object):
    """A view that keeps its document until somebody takes it."""

    whole: ClassVar[bool] = True
    document: bytes = msgspec.field(default=b"", name="-document")

    def received(self, document: bytes) -> None:
        self.document = document

    def take(self) -> bytes:
        """The document, which is not kept any longer."""
        document, self.document = self.document, b""
        return document


class Whole(Taken):
    """Of what is judged; of anything else it keeps no document."""

    def received(self, document: bytes) -> None:
        self.document = b"" if self.managed else document

    @property
    def managed(self) -> bool:
        """Whether a workload that is judged itself makes it, so that it says nothing new."""
        owner = self.controller()
        return owner is not None and owner.kind in _MANAGED


@cache
def taken_view(resource: Resource) -> type[Taken]:
    """The view of a resource that keeps each document until it is taken."""
    return type(f"Taken{resource.kind}", (Taken,), {"resource": resource, "__module__": __name__})


@cache
def whole_view(resource: Resource) -> type[Whole]:
    """The view of a resource that keeps documents."""
    return type(f"Whole{resource.kind}", (Whole,), {"resource": resource, "__module__": __name__})


def trimmed(document: bytes) -> bytes:
    """A document without what no check reads."""
    # A copy: what orjson returns keeps the buffer it was written into, four kilobytes at the least.
    return bytes(memoryview(orjson.dumps(trim(orjson.loads(document)))))


def trim(tree: Obj) -> Obj:
    """As `trimmed`, of a tree, in place."""
    tree.pop("status", None)
    for name in _DROPPED:
        tree["metadata"].pop(name, None)
    if tree.get("kind") == "Secret":
        for field in ("data", "stringData"):
            if isinstance(tree.get(field), dict):
                tree[field] = dict.fromkeys(tree[field], "")
        (tree["metadata"].get("annotations") or {}).pop("kubectl.kubernetes.io/last-applied-configuration", None)
    return tree


def is_managed(tree: Obj) -> bool:
    """`Whole.managed` of a tree."""
    owners = (tree.get("metadata") or {}).get("ownerReferences") or ()
    return any(owner.get("controller") and owner.get("kind") in _MANAGED for owner in owners)
