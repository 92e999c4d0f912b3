"""CSIDriver."""

from __future__ import annotations

from collections.abc import Iterable
from typing import ClassVar

import msgspec

from pilothouse.kinds.columns import AGE, NAME, UNSET, Column, field
from pilothouse.kinds.kind import Kind
from pilothouse.kinds.problems import Problems, section
from pilothouse.kinds.view import Object, View
from pilothouse.machinery.objects import Obj, Resource


class TokenRequest(View):
    audience: str = ""
    expiration_seconds: int | None = None


class CSIDriverSpec(View):
    attach_required: bool = True
    pod_info_on_mount: bool = False
    requires_republish: bool = False
    storage_capacity: bool = False
    fs_group_policy: str = "ReadWriteOnceWithFSType"
    volume_lifecycle_modes: list[str] = []
    token_requests: list[TokenRequest] = []


class CSIDriver(Object):
    resource: ClassVar[Resource] = Resource("storage.k8s.io", "v1", "CSIDriver", "csidrivers", False)

    spec: CSIDriverSpec = msgspec.field(default_factory=CSIDriverSpec)


_GROUP_POLICIES = ("File", "None", "ReadWriteOnceWithFSType")
_MODES = ("Persistent", "Ephemeral")
_TOKEN_LEAST, _TOKEN_MOST = 600, 1 << 32
_PERIOD_LEAST = 10


def _defaults(obj: Obj) -> None:
    spec = obj.setdefault("spec", {})
    spec.setdefault("attachRequired", True)
    spec.setdefault("fsGroupPolicy", "ReadWriteOnceWithFSType")
    for key in ("podInfoOnMount", "requiresRepublish", "seLinuxMount", "storageCapacity"):
        spec.setdefault(key, False)
    if not spec.get("volumeLifecycleModes"):
        spec["volumeLifecycleModes"] = ["Persistent"]


def _rules(obj: Obj, old: Obj | None, problems: Problems) -> None:
    """Source: `ValidateCSIDriver` and `ValidateCSIDriverUpdate` of Kubernetes' storage validation."""
    spec = section(obj, "spec")
    policy = spec.get("fsGroupPolicy")
    if policy is not None and policy not in _GROUP_POLICIES:
        problems.unsupported("spec.fsGroupPolicy", policy, _GROUP_POLICIES)
    _check_tokens(spec.get("tokenRequests") or [], problems)
    for mode in spec.get("volumeLifecycleModes") or ():
        if mode not in _MODES:
            problems.unsupported("spec.volumeLifecycleModes", mode, list(_MODES))
    period = spec.get("nodeAllocatableUpdatePeriodSeconds")
    if period is not None and period < _PERIOD_LEAST:
        problems.invalid(
            "spec.nodeAllocatableUpdatePeriodSeconds", period, "must be greater than or equal to 10 seconds"
        )
    if old is not None:
        before = section(old, "spec")
        # Upstream misspells the first path, and clients may have learnt it.
        for key, path in (("attachRequired", "attachedRequired"), ("volumeLifecycleModes", "volumeLifecycleModes")):
            problems.immutable(f"spec.{path}", spec.get(key), before.get(key))


def _check_tokens(requests: list[Obj], problems: Problems) -> None:
    seen: set[str] = set()
    for index, request in enumerate(requests):
        at, audience, seconds = (
            f"spec.tokenRequests[{index}]",
            request.get("audience") or "",
            request.get("expirationSeconds"),
        )
        if audience in seen:
            problems.duplicate(f"{at}.audience", audience)
            continue
        seen.add(audience)
        if seconds is None:
            continue
        if seconds < _TOKEN_LEAST:
            problems.invalid(f"{at}.expirationSeconds", seconds, "may not specify a duration less than 10 minutes")
        if seconds > _TOKEN_MOST:
            problems.invalid(f"{at}.expirationSeconds", seconds, "may not specify a duration larger than 2^32 seconds")


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
    rules=_rules,
    returns_deleted=True,
)
