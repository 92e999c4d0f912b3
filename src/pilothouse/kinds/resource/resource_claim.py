"""ResourceClaim."""

from __future__ import annotations

from typing import ClassVar

from pilothouse.kinds.columns import AGE, NAME, Column
from pilothouse.kinds.kind import Kind
from pilothouse.kinds.problems import section
from pilothouse.kinds.view import Object
from pilothouse.machinery.objects import Obj, Resource


class ResourceClaim(Object):
    resource: ClassVar[Resource] = Resource("resource.k8s.io", "v1", "ResourceClaim", "resourceclaims", True)


def _state(obj: Obj) -> str:
    status = section(obj, "status")
    deleted = section(obj, "metadata").get("deletionTimestamp")
    states = ["deleted"] if deleted else []
    if status.get("allocation") is not None:
        states += ["allocated", "reserved"] if status.get("reservedFor") else ["allocated"]
    elif not deleted:
        states.append("pending")
    return ",".join(states)


KIND = Kind(
    view=ResourceClaim,
    subresources=frozenset({"status"}),
    columns=(NAME, Column("State", _state, "Whether it is pending, allocated, reserved."), AGE),
    returns_deleted=True,
)
