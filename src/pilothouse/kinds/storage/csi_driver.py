"""CSIDriver."""

from __future__ import annotations

from collections.abc import Iterable
from typing import ClassVar

from pilothouse.kinds.columns import AGE, NAME, UNSET, Column, field
from pilothouse.kinds.kind import Kind
from pilothouse.kinds.problems import section
from pilothouse.kinds.view import Object
from pilothouse.machinery.objects import Obj, Resource


class CSIDriver(Object):
    resource: ClassVar[Resource] = Resource("storage.k8s.io", "v1", "CSIDriver", "csidrivers", False)


def _defaults(obj: Obj) -> None:
    spec = obj.setdefault("spec", {})
    spec.setdefault("attachRequired", True)
    spec.setdefault("fsGroupPolicy", "ReadWriteOnceWithFSType")
    for key in ("podInfoOnMount", "requiresRepublish", "seLinuxMount", "storageCapacity"):
        spec.setdefault(key, False)
    if not spec.get("volumeLifecycleModes"):
        spec["volumeLifecycleModes"] = ["Persistent"]


def _flag(key: str, title: str, description: str) -> Column:
    return Column(title, field("spec", key, default=False), description, type="boolean")


def _listed(values: Iterable[str]) -> str:
    return ",".join(values) or UNSET


KIND = Kind(
    view=CSIDriver,
    columns=(
        NAME,
        _flag("attachRequired", "AttachRequired", "Whether volumes are attached first."),
        _flag("podInfoOnMount", "PodInfoOnMount", "Whether it is told of the pod."),
        _flag("storageCapacity", "StorageCapacity", "Whether it publishes what space is left."),
        Column(
            "TokenRequests",
            lambda obj: _listed(
                str(entry.get("audience", "")) for entry in section(obj, "spec").get("tokenRequests") or ()
            ),
            "Audiences of the tokens it gets.",
        ),
        _flag("requiresRepublish", "RequiresRepublish", "Whether volumes are published again and again."),
        Column(
            "Modes", lambda obj: _listed(section(obj, "spec").get("volumeLifecycleModes") or ()), "Kinds of volumes."
        ),
        AGE,
    ),
    generation_fields=("spec",),
    defaults=_defaults,
    returns_deleted=True,
)
