"""Which group-versions other servers serve, and what is known of what they serve there."""

from __future__ import annotations

import logging
from collections.abc import Iterable
from typing import NamedTuple

import msgspec

from pilothouse.apiserver import codec
from pilothouse.apiserver.discovery import Entry, Part
from pilothouse.apiserver.served_kinds import ServedKinds
from pilothouse.kinds.apiregistration.api_service import APIService
from pilothouse.machinery.objects import Obj, Resource
from pilothouse.store.store import Record, Store

log = logging.getLogger(__name__)
_COLLECTION = codec.collection(APIService.resource)
_DECODER = msgspec.json.Decoder(APIService)
GroupVersion = tuple[str, str]


class Learned(NamedTuple):
    """What a server said of a group-version when it was last asked."""

    entries: tuple[Entry, ...] = ()
    openapi: str = ""
    """The URL of its OpenAPI v3 document with its hash, "" when it has none."""


class Registered:
    """The APIServices that lead to other servers, by group and version. What this server serves itself is never
    theirs."""

    def __init__(self, store: Store, kinds: ServedKinds, local: Iterable[Resource]) -> None:
        self._store = store
        self._kinds = kinds
        self._local = {(resource.group, resource.version) for resource in local}
        self._services: dict[GroupVersion, APIService] = {}
        self._learned: dict[GroupVersion, Learned] = {}
        self._seen = 0
        self._version = 0

    @property
    def version(self) -> int:
        """Rises whenever something else is known."""
        self._refresh()
        return self._version

    def all(self) -> list[APIService]:
        """Those in effect, the groups and versions with the higher priority first."""
        self._refresh()
        found = [s for s in self._services.values() if not self.is_local(s.spec.group, s.spec.version)]
        return sorted(found, key=lambda s: (-s.spec.group_priority_minimum, s.spec.group, -s.spec.version_priority))

    def find(self, group: str, version: str) -> APIService | None:
        """The APIService in effect for a group-version, None without one."""
        self._refresh()
        found = self._services.get((group, version))
        return None if found is None or self.is_local(group, version) else found

    def is_local(self, group: str, version: str) -> bool:
        """Whether this server serves that group-version itself."""
        return (group, version) in self._local or self._kinds.has_version(group, version)

    def learned(self, group: str, version: str) -> Learned:
        return self._learned.get((group, version), Learned())

    def learn(self, group: str, version: str, learned: Learned) -> None:
        if self._learned.get((group, version)) != learned:
            self._learned[(group, version)] = learned
            self._version += 1

    def _refresh(self) -> None:
        changed = self._store.changed(_COLLECTION)
        if changed == self._seen:
            return
        self._seen = changed
        found = [service for record in self._store.list(_COLLECTION) if (service := _read(record)) is not None]
        self._services = {(s.spec.group, s.spec.version): s for s in found if s.spec.service is not None}
        self._learned = {place: known for place, known in self._learned.items() if place in self._services}
        self._version += 1


def _read(record: Record) -> APIService | None:
    try:
        return _DECODER.decode(record.value)
    except msgspec.ValidationError as error:
        log.error("the APIService %s is not followed: %s", record.key.removeprefix(_COLLECTION), error)
        return None


def entries_of(group: str, version: str, listed: Obj) -> tuple[Entry, ...]:
    """The entries of an APIResourceList. Raises TypeError, KeyError for one of another shape."""
    found: dict[str, Entry] = {}
    parts: dict[str, list[Part]] = {}
    for item in listed["resources"]:
        name, _, sub = str(item["name"]).partition("/")
        verbs = tuple(str(verb) for verb in item.get("verbs") or ())
        kind = str(item["kind"])
        own = (str(item.get("group") or group), str(item.get("version") or version))
        if sub:
            parts.setdefault(name, []).append(Part(sub, *own, kind, verbs))
            continue
        resource = Resource(group, version, kind, name, bool(item.get("namespaced")))
        short, categories = item.get("shortNames") or (), item.get("categories") or ()
        found[name] = Entry(
            resource, str(item.get("singularName") or ""), verbs, tuple(map(str, short)), tuple(map(str, categories))
        )
    return tuple(entry._replace(parts=tuple(parts.get(name, ()))) for name, entry in found.items())
