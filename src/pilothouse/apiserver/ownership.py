"""Who owns which fields (`metadata.managedFields`) after a write."""

from __future__ import annotations

from dataclasses import dataclass

from pilothouse.apiserver.call import Call
from pilothouse.kinds.kind import Kind
from pilothouse.machinery.apply.server_side import track_update
from pilothouse.machinery.objects import Obj, timestamp


@dataclass(frozen=True, slots=True)
class Manager:
    """The writer of a change. With `settled`, applying has already decided who owns what."""

    name: str
    subresource: str = ""
    settled: bool = False


def updating(call: Call, subresource: str = "") -> Manager:
    """The writer of a create, update or patch."""
    return Manager(call.field_manager, subresource)


def owned(kind: Kind, new: Obj, old: Obj | None, manager: Manager) -> Obj:
    """`new` with its managed fields brought up to date; what differs from `old` belongs to the manager."""
    schema = kind.schema
    if manager.settled or schema is None:
        return new
    return track_update(old, new, manager.name, manager.subresource, schema=schema, now=timestamp())
