"""What the API server needs to know of a kind: its names, defaults, rules, columns and what an update may change.

A kind's module gives the parts that are its own; everything here is what kinds have in common. Trees handed in
have been checked against the kind's schema, so every field present has its type.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, NamedTuple

from pilothouse.kinds.columns import AGE, NAME, Column
from pilothouse.kinds.equality import same
from pilothouse.kinds.metadata import NameRule, check_metadata, check_metadata_update
from pilothouse.kinds.problems import Problems
from pilothouse.kinds.view import Object
from pilothouse.machinery import names
from pilothouse.machinery.errors import Cause
from pilothouse.machinery.objects import Obj, Resource
from pilothouse.machinery.schema import Schema, UnknownKind, schema_for
from pilothouse.machinery.structural import Examination, examine

ALL_VERBS = frozenset({"create", "delete", "deletecollection", "get", "list", "patch", "update", "watch"})

Change = Callable[[Obj], None]
Merge = Callable[[Obj, Obj], None]
Rules = Callable[[Obj, Obj | None, Problems], None]


def _nothing(obj: Obj) -> None:
    """For kinds without defaults, or with nothing to do at creation."""


def _no_merge(new: Obj, old: Obj) -> None:
    """For kinds whose update needs no care of its own."""


def _no_rules(obj: Obj, old: Obj | None, problems: Problems) -> None:
    """For kinds whose schema says all there is to say."""


def _no_fields(obj: Obj) -> dict[str, str]:
    return {}


class ScalePaths(NamedTuple):
    """Where an object has what its Scale shows; without a path of its own the selector is that of `spec`."""

    replicas: str = ".spec.replicas"
    current: str = ".status.replicas"
    selector: str | None = None


_WORKLOAD = ScalePaths()


_ZEROS: Mapping[str, Any] = {"integer": 0, "number": 0, "boolean": False, "string": ""}


@lru_cache(maxsize=256)
def _empty_status(resource: Resource) -> tuple[tuple[str, Any], ...]:
    """A status that says nothing, as upstream's structs are written: typed clients miss fields that are required."""
    schema = published_schema(resource)
    status = schema.root.properties.get("status") if schema is not None else None
    if status is None:
        return ()
    required = ((name, _ZEROS.get(status.properties[name].type)) for name in sorted(status.required))
    return tuple((name, zero) for name, zero in required if zero is not None)


@dataclass(frozen=True)
class Kind:
    """A served kind. The callables take JSON trees; those that change a tree do so in place.

    `defaults` fills in what was left out; `rules(obj, old, problems)` reports what is wrong, `old` is None at creation;
    `on_create` and `on_update(new, old)` run within the common preparation; `generation_fields` are the top-level
    fields whose change raises `metadata.generation` (none: the kind has no generation); an object of a kind with
    `status_at_creation` may be created with its status, all others start without; a delete of a kind that
    `returns_deleted` is answered with the object, of others with a Status; `warning` is what every
    answer warns of (a deprecated version); `stored_as` is for a second version
    of a kind, whose objects are kept as those of the first; `on_delete` runs when an object is first marked as being
    deleted; without `strategic_merge` the kind takes no strategic merge patches; with `bare_finalizers` those
    need no domain; what is `slow` is validated off the event loop; an update of what is not there makes an object of
    a kind with `create_on_update`.
    """

    view: type[Object]
    short_names: tuple[str, ...] = ()
    categories: tuple[str, ...] = ()
    subresources: frozenset[str] = frozenset()
    verbs: frozenset[str] = ALL_VERBS
    columns: tuple[Column, ...] = (NAME, AGE)
    name_rule: NameRule = names.dns1123_subdomain
    generation_fields: tuple[str, ...] = ()
    defaults: Change = _nothing
    rules: Rules = _no_rules
    on_create: Change = _nothing
    on_update: Merge = _no_merge
    fields: Callable[[Obj], dict[str, str]] = _no_fields
    status_at_creation: bool = False
    returns_deleted: bool = False
    warning: str = ""
    stored_as: StoredAs | None = None
    on_delete: Change = _nothing
    strategic_merge: bool = True
    bare_finalizers: bool = False
    slow: bool = False
    create_on_update: bool = False
    scale_paths: ScalePaths = _WORKLOAD

    @property
    def resource(self) -> Resource:
        return self.view.resource

    @property
    def singular(self) -> str:
        return self.resource.kind.lower()

    @property
    def list_kind(self) -> str:
        return f"{self.resource.kind}List"

    @property
    def schema(self) -> Schema | None:
        """The schema of the kind's objects, None when nothing is published of it."""
        return published_schema(self.resource)

    @property
    def has_status(self) -> bool:
        """Whether `status` is written through a subresource of its own."""
        return "status" in self.subresources

    def examine(self, tree: Obj) -> Examination:
        """The tree as it is stored, and what of it is wrong or unknown; the tree given may be changed."""
        schema = self.schema
        return Examination(tree) if schema is None else examine(schema, tree)

    def fill_in(self, tree: Obj) -> None:
        """Fills in defaults, in place; nulls have been dropped already where there was a schema to go by."""
        if self.schema is None:
            self.default(tree)
        else:
            self.defaults(tree)

    def default(self, obj: Obj) -> None:
        """Drops nulls (they mean "not given") and fills in the kind's defaults."""
        drop_nulls(obj)
        self.defaults(obj)

    def validate(self, obj: Obj, old: Obj | None = None) -> list[Cause]:
        """What is wrong with a defaulted object, or with replacing `old` by it; empty when it may be stored."""
        problems = Problems()
        meta = obj.get("metadata") or {}
        check_metadata(meta, self.resource.namespaced, self.name_rule, problems, bare_finalizers=self.bare_finalizers)
        if old is not None:
            check_metadata_update(meta, old.get("metadata") or {}, problems)
        self.rules(obj, old, problems)
        return problems

    def prepare_create(self, obj: Obj) -> None:
        """Clears what a client may not set at creation: the status, of which what is required stays, and the
        generation."""
        if self.has_status and not self.status_at_creation:
            obj["status"] = dict(_empty_status(self.resource))
        meta = obj.setdefault("metadata", {})
        if self.generation_fields:
            meta["generation"] = 1
        else:
            meta.pop("generation", None)
        self.on_create(obj)

    def prepare_update(self, new: Obj, old: Obj) -> None:
        """Keeps the old status, and counts the generation up when what it covers changed."""
        if self.has_status:
            _keep(new, old, "status")
        self.on_update(new, old)
        meta = new.setdefault("metadata", {})
        _keep(meta, old.get("metadata") or {}, "generation")
        if not all(same(new.get(field), old.get(field)) for field in self.generation_fields):
            meta["generation"] = meta.get("generation", 0) + 1

    def prepare_status_update(self, new: Obj, old: Obj) -> None:
        """Keeps everything of `old` but status, labels and annotations."""
        for key in old.keys() | new.keys():
            if key not in ("apiVersion", "kind", "metadata", "status"):
                _keep(new, old, key)
        meta, old_meta = new.setdefault("metadata", {}), old.get("metadata") or {}
        for key in ("generation", "ownerReferences", "finalizers"):
            _keep(meta, old_meta, key)

    def selectable_fields(self, obj: Obj) -> dict[str, str]:
        """The values a field selector can ask for, as text; a missing field is ""."""
        meta = obj.get("metadata") or {}
        values = {"metadata.name": meta.get("name") or ""}
        if self.resource.namespaced:
            values["metadata.namespace"] = meta.get("namespace") or ""
        values.update(self.fields(obj))
        return values


@dataclass(frozen=True)
class StoredAs:
    """How objects of a kind are kept: as those of `kind`. The callables make a new tree; metadata's identity (name,
    namespace, uid, times, managed fields) stays as it is, and what one form cannot say is kept in annotations."""

    kind: Kind
    to_stored: Callable[[Obj], Obj]
    from_stored: Callable[[Obj], Obj]


@lru_cache(maxsize=256)
def published_schema(resource: Resource) -> Schema | None:
    """The published schema of a built-in kind, None when there is none."""
    try:
        return schema_for(resource.group, resource.version, resource.kind)
    except UnknownKind:
        return None


def drop_nulls(tree: Obj) -> None:
    """Removes every field whose value is null, in place."""
    pending = [tree]
    while pending:
        node = pending.pop()
        has_null = False
        for value in node.values():
            kind = type(value)
            if kind is dict:
                pending.append(value)
            elif kind is list:
                pending += [item for item in value if type(item) is dict]
            elif value is None:
                has_null = True
        if has_null:
            for key in [key for key, value in node.items() if value is None]:
                del node[key]


def _keep(new: Obj, old: Obj, key: str) -> None:
    if key in old:
        new[key] = old[key]
    else:
        new.pop(key, None)
