"""The documents of `/openapi/v3` and `/openapi/v2`: made when first asked for, kept compressed.

A document's hash covers what it is made from, not the document, so that the index costs nothing; the tree of a
document lives only while it is made.
"""

from __future__ import annotations

import gzip
import hashlib
from collections import defaultdict
from collections.abc import Callable, Iterable
from functools import cached_property
from pathlib import Path
from typing import NamedTuple

import orjson

from pilothouse.apiserver.openapi.custom import ROOTS as CUSTOM_ROOTS
from pilothouse.apiserver.openapi.custom import custom_definitions
from pilothouse.apiserver.openapi.definitions import name_of, schemas
from pilothouse.apiserver.openapi.paths import paths
from pilothouse.apiserver.openapi.served import Served
from pilothouse.apiserver.openapi.swagger import swagger
from pilothouse.machinery.objects import Obj
from pilothouse.machinery.schema import KUBERNETES_VERSION

_TITLE = {"title": "Kubernetes", "version": f"v{KUBERNETES_VERSION}.0"}


class Document(NamedTuple):
    """A JSON document, compressed with gzip; `etag` is fit for the header of that name."""

    compressed: bytes
    etag: str

    def body(self) -> bytes:
        """The document itself."""
        return gzip.decompress(self.compressed)


class OpenApi:
    """All documents about a set of resources."""

    def __init__(self, served: Iterable[Served]) -> None:
        self._by_path: dict[str, list[Served]] = defaultdict(list)
        for entry in served:
            self._by_path[entry.group_path].append(entry)
        self._made: dict[str, Document] = {}
        self.others: dict[str, str] = {}
        """Where the documents of other servers are, by group path."""

    def take_over(self, other: OpenApi) -> None:
        """Keeps the documents the other has made of what is the same here."""
        for path in other._made.keys() & self._by_path.keys():
            if self._hash(path) == other._hash(path):
                self._made[path] = other._made[path]

    @cached_property
    def _sources(self) -> bytes:
        """What documents depend on besides the resources: the code that makes them."""
        digest = hashlib.sha256()
        for file in sorted(Path(__file__).parent.glob("*.py")):
            digest.update(file.read_bytes())
        return digest.digest()

    def _hash(self, group_path: str) -> str:
        described = sorted(
            repr((e.resource, sorted(e.verbs), _subresources(e), e.list_kind, e.returns_deleted, _digest(e.schema)))
            for e in self._by_path[group_path]
        )
        return hashlib.sha256(self._sources + "\n".join(described).encode()).hexdigest().upper()

    def index(self) -> Document:
        """`/openapi/v3`: where the document of each group-version is."""
        return self._keep(
            "",
            lambda: orjson.dumps(
                {
                    "paths": {
                        path: {"serverRelativeURL": url}
                        for path, url in sorted(
                            {
                                **self.others,
                                **{path: f"/openapi/v3/{path}?hash={self._hash(path)}" for path in self._by_path},
                            }.items()
                        )
                    }
                }
            ),
        )

    def document(self, group_path: str) -> Document | None:
        """`/openapi/v3/GROUP_PATH`, such as `apis/apps/v1`; None when no such group-version is served.

        The etag is the hash of the index: a request that carries it may be answered as unchanging.
        """
        if group_path not in self._by_path:
            return None
        return self._keep(group_path, lambda: orjson.dumps(self._tree(group_path)))

    def hash_of(self, group_path: str) -> str:
        """The hash of the index's URL of a document, "" when it is not served."""
        return self._hash(group_path) if group_path in self._by_path else ""

    def v2(self) -> Document:
        """`/openapi/v2` in JSON: everything in one Swagger 2.0 document."""
        return self._keep("v2", lambda: orjson.dumps(swagger(_TITLE, map(self._tree, sorted(self._by_path)))))

    def _keep(self, key: str, make: Callable[[], bytes]) -> Document:
        found = self._made.get(key)
        if found is None:
            body = make()
            etag = self._hash(key) if key in self._by_path else hashlib.sha256(body).hexdigest().upper()
            found = self._made[key] = Document(gzip.compress(body, 6, mtime=0), f'"{etag}"')
        return found

    def _tree(self, group_path: str) -> Obj:
        served = self._by_path[group_path]
        kinds = [entry.gvk for entry in served if not entry.schema]
        kinds += [sub.kind for entry in served for sub in entry.subresources if sub.kind]
        kinds += [kind._replace(kind=f"{kind.kind}List") for kind in kinds]
        names = {name for name in map(name_of, kinds) if name}
        own: dict[str, Obj] = {}
        for entry in served:
            if entry.schema:
                own |= custom_definitions(entry.gvk, entry.list_gvk.kind, entry.schema)
                names.update(CUSTOM_ROOTS)
        return {
            "openapi": "3.0.0",
            "info": _TITLE,
            "paths": paths(served),
            "components": {"schemas": dict(sorted({**schemas(sorted(names)), **own}.items()))},
        }


def _subresources(entry: Served) -> list[str]:
    return sorted(repr((sub.name, sorted(sub.verbs), sub.kind)) for sub in entry.subresources)


def _digest(schema: memoryview | None) -> bytes:
    return hashlib.sha256(schema or b"").digest()
