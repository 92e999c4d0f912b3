"""Lease."""

from __future__ import annotations

from typing import ClassVar

import msgspec

from pilothouse.kinds.view import Object, View
from pilothouse.machinery.objects import Resource


class LeaseSpec(View):
    holder_identity: str | None = None
    lease_duration_seconds: int | None = None
    acquire_time: str | None = None
    renew_time: str | None = None
    lease_transitions: int | None = None


class Lease(Object):
    resource: ClassVar[Resource] = Resource("coordination.k8s.io", "v1", "Lease", "leases", True)

    spec: LeaseSpec = msgspec.field(default_factory=LeaseSpec)
