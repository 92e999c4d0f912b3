"""What this server serves, as clients discover it: the legacy documents and the aggregated ones. Pure.

Source: `meta.k8s.io/v1` APIGroupList and APIResourceList, `apidiscovery.k8s.io/v2` APIGroupDiscoveryList.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

import orjson

from pilothouse.apiserver.chain import ReviewResource
from pilothouse.apiserver.subresources import subresource
from pilothouse.kinds.apiextensions.custom_kind import CustomKind
from pilothouse.kinds.kind import Kind
from pilothouse.machinery.errors import ServiceUnavailable
from pilothouse.machinery.objects import Obj, Resource

AGGREGATED = "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList"


class Part(NamedTuple):
    """A subresource as discovery shows it."""

    name: str
    group: str
    version: str
    kind: str
    verbs: tuple[str, ...]


class Entry(NamedTuple):
    """A resource as discovery shows it."""

    resource: Resource
    singular: str
    verbs: tuple[str, ...]
    short_names: tuple[str, ...] = ()
    categories: tuple[str, ...] = ()
    parts: tuple[Part, ...] = ()
    schema: memoryview | None = None
    """Of a custom resource: its `openAPIV3Schema`."""
    list_kind: str = ""
    returns_deleted: bool = False


def entries(kinds: Iterable[Kind], reviews: Iterable[ReviewResource]) -> list[Entry]:
    """The resources of kinds and of create-only questions."""
    found = [
        Entry(
            kind.resource,
            kind.singular,
            tuple(sorted(kind.verbs)),
            kind.short_names,
            kind.categories,
            tuple(_parts(kind)),
            memoryview(kind.raw_schema) if isinstance(kind, CustomKind) else None,
            kind.list_kind,
            kind.returns_deleted,
        )
        for kind in kinds
    ]
    found += [Entry(review.resource, review.singular, ("create",)) for review in reviews]
    return found


def _parts(kind: Kind) -> Iterable[Part]:
    own = kind.resource
    for name in sorted(kind.subresources):
        served = subresource(own.group, own.plural, name)
        if served is not None:
            verbs = set(served.verbs)
            if name in ("exec", "attach", "portforward"):
                verbs.add("get")
            group, version = (served.group, served.version) if served.version else (own.group, own.version)
            yield Part(name, group, version, served.kind or own.kind, tuple(sorted(verbs)))


class Document(NamedTuple):
    """A JSON document and its ETag."""

    body: bytes
    etag: str


def _document(tree: Obj) -> Document:
    body = orjson.dumps(tree)
    return Document(body, f'"{hashlib.sha256(body).hexdigest().upper()}"')


class Discovery:
    """The documents by path, made once. `others` are the group-versions of other servers, empty where one is away."""

    def __init__(self, found: Sequence[Entry], others: Mapping[tuple[str, str], Sequence[Entry]] | None = None) -> None:
        self._groups: dict[str, dict[str, list[Entry]]] = {}
        for entry in found:
            versions = self._groups.setdefault(entry.resource.group, {})
            versions.setdefault(entry.resource.version, []).append(entry)
        for (group, version), served in (others or {}).items():
            self._groups.setdefault(group, {})[version] = list(served)
        self._away: set[str] = set()
        core = {"": self._groups.get("", {})}
        named = {group: versions for group, versions in self._groups.items() if group}
        self._aggregated = {
            "/api": _document(_aggregated(core)),
            "/apis": _document(_aggregated(named)),
        }
        self._legacy = {
            "/api": _document({"kind": "APIVersions", "versions": list(core[""]), "serverAddressByClientCIDRs": []}),
            "/apis": _document(
                {"kind": "APIGroupList", "apiVersion": "v1", "groups": [_group(g, v) for g, v in named.items()]}
            ),
        }
        for group, versions in self._groups.items():
            if group:
                tree = {"kind": "APIGroup", "apiVersion": "v1", **_group(group, versions)}
                self._legacy[f"/apis/{group}"] = _document(tree)
            for version, served in versions.items():
                path = f"/apis/{group}/{version}" if group else f"/api/{version}"
                if served:
                    self._legacy[path] = _document(_resource_list(group, version, served))
                else:
                    self._away.add(path)

    def legacy(self, path: str) -> Document | None:
        """The document of a path such as `/apis` or `/apis/apps/v1`. Raises ServiceUnavailable for a group-version
        whose server does not answer."""
        if path in self._away:
            raise ServiceUnavailable("the server is currently unable to handle the request")
        return self._legacy.get(path)

    def aggregated(self, path: str) -> Document | None:
        """The aggregated document of `/api` or `/apis`."""
        return self._aggregated.get(path)

    @property
    def group_versions(self) -> list[tuple[str, str]]:
        """All groups with their versions."""
        return [(group, version) for group, versions in self._groups.items() for version in versions]


def _group(group: str, versions: dict[str, list[Entry]]) -> Obj:
    listed = [{"groupVersion": f"{group}/{version}", "version": version} for version in versions]
    return {"name": group, "versions": listed, "preferredVersion": listed[0]}


def _resource_list(group: str, version: str, served: Iterable[Entry]) -> Obj:
    resources: list[Obj] = []
    for entry in served:
        shown: Obj = {
            "name": entry.resource.plural,
            "singularName": entry.singular,
            "namespaced": entry.resource.namespaced,
            "kind": entry.resource.kind,
            "verbs": entry.verbs,
        }
        if entry.short_names:
            shown["shortNames"] = entry.short_names
        if entry.categories:
            shown["categories"] = entry.categories
        resources.append(shown)
        resources += [_legacy_part(entry, part) for part in entry.parts]
    group_version = f"{group}/{version}" if group else version
    return {"kind": "APIResourceList", "apiVersion": "v1", "groupVersion": group_version, "resources": resources}


def _legacy_part(entry: Entry, part: Part) -> Obj:
    shown: Obj = {
        "name": f"{entry.resource.plural}/{part.name}",
        "singularName": "",
        "namespaced": entry.resource.namespaced,
        "kind": part.kind,
        "verbs": part.verbs,
    }
    if (part.group, part.version) != (entry.resource.group, entry.resource.version):
        shown["group"], shown["version"] = part.group, part.version
    return shown


def _aggregated(groups: dict[str, dict[str, list[Entry]]]) -> Obj:
    items = [
        {
            "metadata": {"name": group, "creationTimestamp": None} if group else {"creationTimestamp": None},
            "versions": [
                {
                    "version": version,
                    "freshness": "Current" if served else "Stale",
                    "resources": [_aggregated_entry(e) for e in served],
                }
                for version, served in versions.items()
            ],
        }
        for group, versions in groups.items()
    ]
    return {
        "kind": "APIGroupDiscoveryList",
        "apiVersion": "apidiscovery.k8s.io/v2",
        "metadata": {},
        "items": items,
    }


def _aggregated_entry(entry: Entry) -> Obj:
    own = entry.resource
    shown: Obj = {
        "resource": own.plural,
        "responseKind": {"group": own.group, "version": own.version, "kind": own.kind},
        "scope": "Namespaced" if own.namespaced else "Cluster",
        "singularResource": entry.singular,
        "verbs": entry.verbs,
    }
    if entry.short_names:
        shown["shortNames"] = entry.short_names
    if entry.categories:
        shown["categories"] = entry.categories
    if entry.parts:
        shown["subresources"] = [
            {
                "subresource": part.name,
                "responseKind": {"group": part.group, "version": part.version, "kind": part.kind},
                "verbs": part.verbs,
            }
            for part in entry.parts
        ]
    return shown
