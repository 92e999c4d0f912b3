"""Lease."""

from __future__ import annotations

from typing import ClassVar

import msgspec

from pilothouse.kinds.columns import AGE, NAME, Column, field
from pilothouse.kinds.kind import Kind
from pilothouse.kinds.problems import Problems, section
from pilothouse.kinds.view import Object, View
from pilothouse.machinery.objects import Obj, Resource


class LeaseSpec(View):
    holder_identity: str | None = None
    lease_duration_seconds: int | None = None
    acquire_time: str | None = None
    renew_time: str | None = None
    lease_transitions: int | None = None


class Lease(Object):
    resource: ClassVar[Resource] = Resource("coordination.k8s.io", "v1", "Lease", "leases", True)

    spec: LeaseSpec = msgspec.field(default_factory=LeaseSpec)


_STRATEGIES = ("OldestEmulationVersion",)


def _rules(obj: Obj, old: Obj | None, problems: Problems) -> None:
    spec = section(obj, "spec")
    seconds = spec.get("leaseDurationSeconds")
    if seconds is not None and seconds <= 0:
        problems.invalid("spec.leaseDurationSeconds", seconds, "must be greater than 0")
    problems.not_negative("spec.leaseTransitions", spec.get("leaseTransitions"))
    strategy = spec.get("strategy")
    if strategy is not None and "/" not in strategy:
        problems.one_of("spec.strategy", strategy, _STRATEGIES)
    if spec.get("preferredHolder") and not strategy:
        problems.forbidden("spec.preferredHolder", "may only be specified if `strategy` is defined")


KIND = Kind(
    view=Lease,
    columns=(NAME, Column("Holder", field("spec", "holderIdentity"), "Who holds it."), AGE),
    rules=_rules,
    create_on_update=True,
    bare_finalizers=True,
)
