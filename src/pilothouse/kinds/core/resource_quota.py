"""ResourceQuota. Its rules are in `quota_validation`; what objects use of it is in `quota`."""

from __future__ import annotations

from typing import ClassVar

import msgspec

from pilothouse.kinds.columns import AGE, NAME, Column
from pilothouse.kinds.core.quantities import canonical_quantities
from pilothouse.kinds.core.quota_validation import check_quota
from pilothouse.kinds.kind import Kind
from pilothouse.kinds.problems import section
from pilothouse.kinds.view import Object, View
from pilothouse.machinery.objects import Obj, Resource


class ScopedResourceSelectorRequirement(View):
    scope_name: str = ""
    operator: str = ""
    values: list[str] = []


class ScopeSelector(View):
    match_expressions: list[ScopedResourceSelectorRequirement] = []


class ResourceQuotaSpec(View):
    hard: dict[str, str] = {}
    scopes: list[str] = []
    scope_selector: ScopeSelector | None = None


class ResourceQuotaStatus(View):
    hard: dict[str, str] = {}
    used: dict[str, str] = {}


class ResourceQuota(Object):
    resource: ClassVar[Resource] = Resource("", "v1", "ResourceQuota", "resourcequotas", True)

    spec: ResourceQuotaSpec = msgspec.field(default_factory=ResourceQuotaSpec)
    status: ResourceQuotaStatus = msgspec.field(default_factory=ResourceQuotaStatus)


def _defaults(obj: Obj) -> None:
    canonical_quantities(section(obj, "spec").get("hard"))
    for key in ("hard", "used"):
        canonical_quantities(section(obj, "status").get(key))


def _amounts(obj: Obj, limits: bool) -> str:
    """`cpu: 1/2, pods: 3/10`: what is used of what there is, of limits or of all else."""
    status = section(obj, "status")
    hard, used = section(status, "hard"), section(status, "used")
    names = [name for name in sorted(hard) if name.startswith("limits.") == limits]
    return ", ".join(f"{name}: {used.get(name, 0)}/{hard[name]}" for name in names)


KIND = Kind(
    view=ResourceQuota,
    short_names=("quota",),
    subresources=frozenset({"status"}),
    columns=(
        NAME,
        Column("Request", lambda obj: _amounts(obj, limits=False), "Amounts used and allowed."),
        Column("Limit", lambda obj: _amounts(obj, limits=True), "Limits used and allowed."),
        AGE,
    ),
    defaults=_defaults,
    rules=check_quota,
    returns_deleted=True,
)
