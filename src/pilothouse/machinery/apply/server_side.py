"""The two operations on owned fields: applying a configuration, and recording what an update changed."""

from __future__ import annotations

from typing import Any, Final

from pilothouse.machinery.apply.fields import (
    FieldSet,
    IndistinctEntries,
    difference,
    field_set,
    indistinct_list,
    intersection,
    path_text,
    paths,
    union,
    without,
)
from pilothouse.machinery.apply.last_applied import KUBECTL, fields_still_as_applied, with_note
from pilothouse.machinery.apply.managers import (
    APPLY,
    UPDATE,
    Manager,
    Managers,
    Owned,
    api_version,
    in_order,
    read_managers,
    strip,
    write_managers,
)
from pilothouse.machinery.apply.merge import Difference, compare, merge, remove_unowned
from pilothouse.machinery.errors import BadRequest, Cause, Conflict
from pilothouse.machinery.objects import Obj
from pilothouse.machinery.remembered import Remembered, fingerprint
from pilothouse.machinery.schema import Schema

BEFORE_FIRST_APPLY: Final = "before-first-apply"
"""Manager of all that an object held that nobody was recorded to own when it was first applied to."""

CONFLICT_REASON: Final = "FieldManagerConflict"
_SPECS: Final = 16
"""Specs of a kind whose fields are kept."""


def apply(
    live: Obj | None,
    applied: Obj,
    manager: str,
    *,
    force: bool,
    subresource: str = "",
    schema: Schema,
    now: str,
) -> Obj:
    """The object after `manager` applied a configuration; `live` itself when that changes nothing.

    `applied` is free of unknown fields and nulls (see `structural.examine`), `now` a timestamp of RFC 3339. The
    result shares parts with both. Raises Conflict when a value that another manager owns would change and `force`
    is not given, BadRequest for lists whose entries cannot be told apart.
    """
    if (applied.get("metadata") or {}).get("managedFields"):
        raise BadRequest("metadata.managedFields must be nil: leave it out of what is applied")
    root = schema.root
    who = Manager(manager, APPLY, "", subresource)
    base = _bare(live) if live else {}
    managers = _managers(live, schema)
    last = managers.pop(who, None)
    try:
        wanted = strip(field_set(root, applied, strict=True), subresource)
    except IndistinctEntries as error:
        raise BadRequest(
            f"failed to create typed patch object ({_called(applied)}): {indistinct_list(root, applied)}"
        ) from error
    new: Obj = merge(root, base, applied)
    if last is not None:
        new = remove_unowned(root, new, last.fields, [wanted, *(owned.fields for owned in managers.values())])
    changes = compare(root, base, new)
    if not force:
        _refuse_conflicts(managers, _contested(changes.changed, live, who, schema))
    if live and last is not None and changes.empty and last.fields == wanted:
        return with_note(live, applied) if manager == KUBECTL else live
    _take_from_others(managers, changes)
    if wanted:
        managers[who] = Owned(wanted, now, api_version(schema))
    result = write_managers(new, managers)
    return with_note(result, applied) if live and manager == KUBECTL else result


def track_update(
    live: Obj | None,
    new: Obj,
    manager: str,
    subresource: str = "",
    *,
    schema: Schema,
    now: str,
    track: bool = True,
) -> Obj:
    """`new` with `managedFields` brought up to date: what differs from `live` belongs to `manager`.

    A `new` without managedFields keeps those of `live`; one with an empty list (or a single empty entry) starts
    afresh. With `track=False` nothing is compared, and owners stay as they were.
    """
    given = (new.get("metadata") or {}).get("managedFields")
    reset = given is not None and not any(given)
    source = new if given or reset else live
    if not track:
        return write_managers(new, {} if source is None or reset else read_managers(source))
    if live is None and not given:
        return _first_owned(new, manager, subresource, schema, now)
    base = _bare(live) if live else {}
    bare = _bare(new)
    found = compare(schema.root, base, bare)
    changes = Difference(strip(found.changed, subresource), strip(found.removed, subresource))
    if changes.empty and live is not None and not reset and not given:
        return _with_entries(bare, live)
    managers = {} if source is None or reset else read_managers(source, stored=source is live)
    who = Manager(manager, UPDATE, api_version(schema), subresource)
    mine = managers.pop(who, None)
    _take_from_others(managers, changes)
    before: FieldSet = mine.fields if mine else {}
    fields = union(without(before, changes.removed), changes.changed)
    if fields:
        time = mine.time if mine is not None and changes.empty else now
        managers[who] = Owned(fields, time, api_version(schema))
    return write_managers(bare, managers)


def _first_owned(new: Obj, manager: str, subresource: str, schema: Schema, now: str) -> Obj:
    """A new object, all of which is its writer's. What its spec comes to is kept: most of it, and often the same."""
    bare = _bare(new)
    rest = {name: value for name, value in bare.items() if name != "spec"}
    fields = in_order(strip(compare(schema.root, {}, rest).changed, subresource))
    if "spec" in bare and subresource != "status" and (spec := _spec_fields(schema, bare["spec"])) is not None:
        fields = {key: spec if key == "f:spec" else fields[key] for key in sorted({*fields, "f:spec"})}
    version = api_version(schema)
    who = Manager(manager, UPDATE, version, subresource)
    return write_managers(bare, {who: Owned(fields, now, version, ordered=True)} if fields else {})


def _spec_fields(schema: Schema, spec: Any) -> FieldSet | None:
    """The fields of a new object's spec, in order; None when there is nothing to own."""
    remembered: Remembered[FieldSet] = schema.root.compiled.setdefault("specs", Remembered(_SPECS))
    key = fingerprint(spec)
    known = remembered.get(key)
    if known is None:
        found: FieldSet | None = compare(schema.root, {}, {"spec": spec}).changed.get("f:spec")
        if found is None:
            return None
        known = in_order(found)
        if known:
            remembered.put(key, known)
    return known


def _called(applied: Obj) -> str:
    """A configuration as upstream's errors name it: `namespace/name; group/version, Kind=Kind`."""
    meta, version = applied.get("metadata") or {}, applied.get("apiVersion", "")
    shown = version if "/" in version else f"/{version}"
    return f"{meta.get('namespace', '')}/{meta.get('name', '')}; {shown}, Kind={applied.get('kind', '')}"


def _bare(obj: Obj) -> Obj:
    """The object without managedFields, which are not compared or merged."""
    metadata = obj.get("metadata")
    if not metadata or "managedFields" not in metadata:
        return obj
    return {**obj, "metadata": {name: value for name, value in metadata.items() if name != "managedFields"}}


def _with_entries(bare: Obj, live: Obj) -> Obj:
    entries = (live.get("metadata") or {}).get("managedFields")
    if not entries:
        return bare
    return {**bare, "metadata": {**(bare.get("metadata") or {}), "managedFields": entries}}


def _managers(live: Obj | None, schema: Schema) -> Managers:
    if not live:
        return {}
    managers = read_managers(live)
    if managers:
        return managers
    version = api_version(schema)
    fields = strip(field_set(schema.root, _bare(live)), "")
    time = (live.get("metadata") or {}).get("creationTimestamp") or ""
    return {Manager(BEFORE_FIRST_APPLY, UPDATE, version): Owned(fields, time, version)} if fields else {}


def _take_from_others(managers: Managers, changes: Difference) -> None:
    if changes.empty:
        return
    for manager, owned in list(managers.items()):
        left = without(difference(owned.fields, changes.changed), changes.removed)
        if not left:
            del managers[manager]
        elif left is not owned.fields and left != owned.fields:
            managers[manager] = owned._replace(fields=left)


def _contested(changed: FieldSet, live: Obj | None, who: Manager, schema: Schema) -> FieldSet:
    """The changed fields that another owner may object to."""
    return difference(changed, fields_still_as_applied(live, schema)) if live and who.name == KUBECTL else changed


def _refuse_conflicts(managers: Managers, contested: FieldSet) -> None:
    conflicts: list[tuple[str, str]] = []
    for manager, owned in managers.items():
        for path in paths(intersection(owned.fields, contested)):
            conflicts.append((str(manager), path_text(path)))
    if not conflicts:
        return
    conflicts.sort()
    raise Conflict(
        _conflict_message(conflicts),
        causes=[Cause(path, CONFLICT_REASON, f"conflict with {name}") for name, path in conflicts],
    )


def _conflict_message(conflicts: list[tuple[str, str]]) -> str:
    if len(conflicts) == 1:
        name, path = conflicts[0]
        return f"Apply failed with 1 conflict: conflict with {name}: {path}"
    lines: list[str] = []
    for at, (name, path) in enumerate(conflicts):
        if at == 0 or conflicts[at - 1][0] != name:
            lines.append(f"conflicts with {name}:")
        lines.append(f"- {path}")
    return f"Apply failed with {len(conflicts)} conflicts: " + "\n".join(lines)
