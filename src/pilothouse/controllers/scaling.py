"""The scale subresource of whatever can be scaled, found by the kind that a reference names."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple

import orjson

from pilothouse.client.client import Client
from pilothouse.machinery.errors import NotFound
from pilothouse.machinery.objects import Obj, Resource

_KEPT_SECONDS = 60.0
"""How long it is believed which resources an API group has."""


class CannotScale(Exception):
    """The kind is not served or has no scale; the message says which."""


@dataclass(frozen=True, slots=True)
class Scale:
    """A workload's size: what is wanted, what there is, and the selector of its pods as text."""

    uid: str
    resource_version: str
    wanted: int
    current: int
    selector: str


class _Found(NamedTuple):
    resource: Resource
    scalable: bool


class ScaleTargets:
    """Reads and writes sizes as `client`. What is served is asked of the API, so kinds made by users are found too."""

    def __init__(self, client: Client, clock: Callable[[], float] = time.monotonic) -> None:
        self._client = client
        self._clock = clock
        self._known: dict[tuple[str, str], tuple[float, _Found]] = {}

    async def get(self, api_version: str, kind: str, namespace: str, name: str) -> Scale:
        """Raises CannotScale, NotFound (no such object), and what the API raises."""
        found = await self._find(api_version, kind)
        if not found.scalable:
            resource = found.resource
            qualified = f"{resource.plural}.{resource.group}" if resource.group else resource.plural
            raise CannotScale(f"{qualified} does not implement the scale subresource")
        tree = orjson.loads(await self._client.request("GET", found.resource.path(namespace, name, "scale")))
        meta, spec, status = tree.get("metadata") or {}, tree.get("spec") or {}, tree.get("status") or {}
        return Scale(
            meta.get("uid", ""),
            meta.get("resourceVersion", ""),
            spec.get("replicas") or 0,
            status.get("replicas") or 0,
            status.get("selector") or "",
        )

    async def set(self, api_version: str, kind: str, namespace: str, name: str, scale: Scale, replicas: int) -> None:
        """Raises Conflict when the object has changed since `scale` was read, and what the API raises."""
        resource = (await self._find(api_version, kind)).resource
        patch = {"metadata": {"resourceVersion": scale.resource_version}, "spec": {"replicas": replicas}}
        await self._client.request(
            "PATCH", resource.path(namespace, name, "scale"), body=patch, content_type="application/merge-patch+json"
        )

    async def resource(self, api_version: str, kind: str) -> Resource:
        """The resource whose objects are of that kind. Raises CannotScale when it is not served."""
        return (await self._find(api_version, kind)).resource

    async def _find(self, api_version: str, kind: str) -> _Found:
        key, now = (api_version, kind), self._clock()
        known = self._known.get(key)
        if known is not None and now - known[0] < _KEPT_SECONDS:
            return known[1]
        self._known = {entry: value for entry, value in self._known.items() if now - value[0] < _KEPT_SECONDS}
        group, _, version = api_version.rpartition("/")
        found = await self._look(group, version, kind)
        if found is None and group:
            # The version named may be one that is no longer served; the kind may be.
            preferred = await self._preferred(group)
            found = await self._look(group, preferred, kind) if preferred not in ("", version) else None
        if found is None:
            raise CannotScale(f'no matches for kind "{kind}" in group "{group}"')
        self._known[key] = (now, found)
        return found

    async def _look(self, group: str, version: str, kind: str) -> _Found | None:
        path = f"/apis/{group}/{version}" if group else f"/api/{version or 'v1'}"
        document = await self._document(path)
        resources: list[Obj] = document.get("resources") or []
        plural = next((r["name"] for r in resources if r.get("kind") == kind and "/" not in r["name"]), None)
        if plural is None:
            return None
        scalable = any(entry["name"] == f"{plural}/scale" for entry in resources)
        namespaced = any(entry["name"] == plural and entry.get("namespaced") for entry in resources)
        return _Found(Resource(group, version or "v1", kind, plural, namespaced), scalable)

    async def _preferred(self, group: str) -> str:
        document = await self._document(f"/apis/{group}")
        version: str = (document.get("preferredVersion") or {}).get("version", "")
        return version

    async def _document(self, path: str) -> dict[str, Any]:
        try:
            tree: dict[str, Any] = orjson.loads(await self._client.request("GET", path))
        except NotFound:
            return {}
        return tree
