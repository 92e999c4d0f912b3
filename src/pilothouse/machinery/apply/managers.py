"""`metadata.managedFields`: which manager owns which fields, read and written."""

from __future__ import annotations

from typing import Final, NamedTuple

from pilothouse.machinery.apply.fields import FieldSet, union, without
from pilothouse.machinery.objects import Obj
from pilothouse.machinery.schema import Schema

APPLY: Final = "Apply"
UPDATE: Final = "Update"
MAX_UPDATE_MANAGERS: Final = 10
"""Past this many, the oldest managers of updates are merged into one, as upstream does."""
ANCIENT_CHANGES: Final = "ancient-changes"

_ALWAYS_IGNORED: FieldSet = {
    "f:apiVersion": {},
    "f:kind": {},
    "f:metadata": {
        f"f:{name}": {}
        for name in (
            "name",
            "namespace",
            "creationTimestamp",
            "selfLink",
            "uid",
            "generation",
            "managedFields",
            "resourceVersion",
        )
    },
}
_IGNORED = {**_ALWAYS_IGNORED, "f:status": {}}
_IGNORED_STATUS = {**_ALWAYS_IGNORED, "f:spec": {}}


class Manager(NamedTuple):
    """Whose fields they are. An applier is the same whatever version it applies."""

    name: str
    operation: str
    api_version: str = ""
    subresource: str = ""

    def __str__(self) -> str:
        """As a conflict names it."""
        text = f'"{self.name}"'
        if self.subresource:
            text += f' with subresource "{self.subresource}"'
        return f"{text} using {self.api_version}" if self.operation == UPDATE else text


class Owned(NamedTuple):
    """What a manager owns, and since when its last change is. `ordered`: as they are written."""

    fields: FieldSet
    time: str = ""
    api_version: str = ""
    ordered: bool = False


Managers = dict[Manager, Owned]


def api_version(schema: Schema) -> str:
    """`apps/v1`, or `v1` for the core group."""
    gvk = schema.gvk
    return f"{gvk.group}/{gvk.version}" if gvk.group else gvk.version


def strip(fields: FieldSet, subresource: str) -> FieldSet:
    """Without fields nobody owns: identity, and what a write to this subresource does not write."""
    stripped = without(fields, _IGNORED_STATUS if subresource == "status" else _IGNORED)
    if stripped.get("f:metadata") == {}:
        return {key: inner for key, inner in stripped.items() if key != "f:metadata"}
    return stripped


def read_managers(obj: Obj, *, stored: bool = False) -> Managers:
    """The managers of an object. Entries that are not of the one known format are dropped; those of a `stored` object
    are in order."""
    managers: Managers = {}
    for entry in (obj.get("metadata") or {}).get("managedFields") or ():
        fields = entry.get("fieldsV1")
        if not isinstance(fields, dict) or not fields or entry.get("operation") not in (APPLY, UPDATE):
            continue
        version = entry.get("apiVersion", "")
        operation = entry["operation"]
        manager = Manager(
            entry.get("manager", ""), operation, version if operation == UPDATE else "", entry.get("subresource", "")
        )
        if manager in managers:
            managers[manager] = Owned(union(managers[manager].fields, fields), entry.get("time") or "", version)
        else:
            managers[manager] = Owned(fields, entry.get("time") or "", version, stored)
    return managers


def write_managers(obj: Obj, managers: Managers) -> Obj:
    """The object with these managers in place of those it has."""
    metadata = {name: value for name, value in (obj.get("metadata") or {}).items() if name != "managedFields"}
    if managers:
        metadata["managedFields"] = [
            _entry(manager, owned) for manager, owned in sorted(_capped(managers).items(), key=_order)
        ]
    return {**obj, "metadata": metadata}


def _order(item: tuple[Manager, Owned]) -> tuple[str, str, str, str, str]:
    manager, owned = item
    return (manager.operation, owned.time, manager.name, owned.api_version, manager.subresource)


def _entry(manager: Manager, owned: Owned) -> Obj:
    entry: Obj = {
        "manager": manager.name,
        "operation": manager.operation,
        "apiVersion": owned.api_version,
        "time": owned.time,
        "fieldsType": "FieldsV1",
        "fieldsV1": owned.fields if owned.ordered else in_order(owned.fields),
        "subresource": manager.subresource,
    }
    return {name: value for name, value in entry.items() if value != ""}


def in_order(fields: FieldSet) -> FieldSet:
    """In the order upstream writes them: clients compare the text with what they wrote again from a map."""
    return {key: in_order(fields[key]) if fields[key] else {} for key in sorted(fields)}


def _capped(managers: Managers) -> Managers:
    updates = sorted(((m, o) for m, o in managers.items() if m.operation == UPDATE), key=_order)
    excess = len(updates) - MAX_UPDATE_MANAGERS
    if excess <= 0:
        return managers
    result = dict(managers)
    for manager, owned in updates[: excess + 1]:
        del result[manager]
        bucket = Manager(ANCIENT_CHANGES, UPDATE, manager.api_version)
        ancient = result.get(bucket)
        fields = union(ancient.fields, owned.fields) if ancient else owned.fields
        result[bucket] = Owned(fields, owned.time, owned.api_version)
    return result
