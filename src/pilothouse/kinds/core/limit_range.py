"""LimitRange. Its rules are in `limit_range_validation`."""

from __future__ import annotations

from typing import ClassVar

import msgspec

from pilothouse.kinds.columns import NAME, Column, field
from pilothouse.kinds.core.limit_range_validation import check_limit_range
from pilothouse.kinds.core.quantities import canonical_quantities
from pilothouse.kinds.kind import Kind
from pilothouse.kinds.problems import section
from pilothouse.kinds.view import Object, View
from pilothouse.machinery.objects import Obj, Resource


class LimitRangeItem(View):
    type: str = ""
    max: dict[str, str] = {}
    min: dict[str, str] = {}
    default: dict[str, str] = {}
    default_request: dict[str, str] = {}
    max_limit_request_ratio: dict[str, str] = {}


class LimitRangeSpec(View):
    limits: list[LimitRangeItem] = []


class LimitRange(Object):
    resource: ClassVar[Resource] = Resource("", "v1", "LimitRange", "limitranges", True)

    spec: LimitRangeSpec = msgspec.field(default_factory=LimitRangeSpec)


_MAPS = ("max", "min", "default", "defaultRequest", "maxLimitRequestRatio")


def _defaults(obj: Obj) -> None:
    for item in section(obj, "spec").get("limits") or ():
        for key in _MAPS:
            canonical_quantities(item.get(key))
        if item.get("type") == "Container":
            _fill(item, "default", "max")
            _fill(item, "defaultRequest", "default")
            _fill(item, "defaultRequest", "min")


def _fill(item: Obj, key: str, source: str) -> None:
    missing = {name: amount for name, amount in section(item, source).items() if name not in section(item, key)}
    if missing:
        item[key] = {**section(item, key), **missing}


KIND = Kind(
    view=LimitRange,
    short_names=("limits",),
    columns=(
        NAME,
        Column("Created At", field("metadata", "creationTimestamp"), "When the object was created.", type="date"),
    ),
    defaults=_defaults,
    rules=check_limit_range,
    create_on_update=True,
)
