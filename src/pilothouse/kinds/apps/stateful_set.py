"""StatefulSet."""

from __future__ import annotations

from typing import ClassVar

import msgspec

from pilothouse.kinds.apps.rules import check_amount, check_selector, check_template_of, ready_of_wanted
from pilothouse.kinds.columns import AGE, NAME, Column, container_columns
from pilothouse.kinds.core.claim_validation import check_claim_spec
from pilothouse.kinds.core.pod_defaults import default_template
from pilothouse.kinds.core.quantities import canonical_quantities
from pilothouse.kinds.equality import changed_fields
from pilothouse.kinds.kind import Kind
from pilothouse.kinds.problems import Problems, section
from pilothouse.kinds.view import Condition, LabelSelector, Object, View
from pilothouse.machinery import names
from pilothouse.machinery.objects import Obj, Resource


class RollingUpdateStatefulSetStrategy(View):
    partition: int | None = None
    max_unavailable: int | str | None = None


class StatefulSetUpdateStrategy(View):
    type: str = "RollingUpdate"
    rolling_update: RollingUpdateStatefulSetStrategy | None = None


class StatefulSetPersistentVolumeClaimRetentionPolicy(View):
    when_deleted: str = "Retain"
    when_scaled: str = "Retain"


class StatefulSetOrdinals(View):
    start: int = 0


class StatefulSetSpec(View):
    """`template` is a PodTemplateSpec tree, `volume_claim_templates` are whole claims; passed on as they are."""

    replicas: int | None = None
    selector: LabelSelector | None = None
    template: Obj = {}
    volume_claim_templates: list[Obj] = []
    service_name: str = ""
    pod_management_policy: str = "OrderedReady"
    update_strategy: StatefulSetUpdateStrategy = msgspec.field(default_factory=StatefulSetUpdateStrategy)
    revision_history_limit: int | None = None
    min_ready_seconds: int = 0
    persistent_volume_claim_retention_policy: StatefulSetPersistentVolumeClaimRetentionPolicy | None = None
    ordinals: StatefulSetOrdinals | None = None


class StatefulSetStatus(View):
    observed_generation: int = 0
    replicas: int = 0
    ready_replicas: int = 0
    current_replicas: int = 0
    updated_replicas: int = 0
    available_replicas: int = 0
    current_revision: str = ""
    update_revision: str = ""
    collision_count: int | None = None
    conditions: list[Condition] = []


class StatefulSet(Object):
    resource: ClassVar[Resource] = Resource("apps", "v1", "StatefulSet", "statefulsets", True)

    spec: StatefulSetSpec = msgspec.field(default_factory=StatefulSetSpec)
    status: StatefulSetStatus = msgspec.field(default_factory=StatefulSetStatus)


_POLICIES = ("OrderedReady", "Parallel")
_RETENTION = ("Delete", "Retain")
_CHANGEABLE = frozenset(
    {
        "replicas",
        "ordinals",
        "template",
        "updateStrategy",
        "revisionHistoryLimit",
        "persistentVolumeClaimRetentionPolicy",
        "minReadySeconds",
    }
)
_FORBIDDEN = (
    "updates to statefulset spec for fields other than 'replicas', 'ordinals', 'template', 'updateStrategy', "
    "'revisionHistoryLimit', 'persistentVolumeClaimRetentionPolicy' and 'minReadySeconds' are forbidden"
)


def _defaults(obj: Obj) -> None:
    spec = obj.setdefault("spec", {})
    spec["podManagementPolicy"] = spec.get("podManagementPolicy") or "OrderedReady"
    strategy = spec.setdefault("updateStrategy", {})
    strategy["type"] = strategy.get("type") or "RollingUpdate"
    if strategy["type"] == "RollingUpdate":
        strategy.setdefault("rollingUpdate", {}).setdefault("partition", 0)
    retention = spec.setdefault("persistentVolumeClaimRetentionPolicy", {})
    for key in ("whenDeleted", "whenScaled"):
        retention[key] = retention.get(key) or "Retain"
    spec.setdefault("replicas", 1)
    spec.setdefault("revisionHistoryLimit", 10)
    default_template(spec.setdefault("template", {}))
    for claim in spec.get("volumeClaimTemplates") or ():
        claim["apiVersion"], claim["kind"] = "v1", "PersistentVolumeClaim"
        claim["status"] = {"phase": "Pending"}
        asked = claim.setdefault("spec", {})
        asked.setdefault("volumeMode", "Filesystem")
        canonical_quantities(section(asked, "resources").get("requests"))


def _rules(obj: Obj, old: Obj | None, problems: Problems) -> None:
    spec = section(obj, "spec")
    before = None if old is None else section(old, "spec")
    if spec == before:
        return
    if before is not None:
        changed = sorted(set(changed_fields(spec, before)) - _CHANGEABLE)
        if changed:
            listed = ", ".join(f"spec.{key}" for key in changed)
            problems.forbidden("spec", f"{_FORBIDDEN}\nchanged here: {listed}")
    for key in ("replicas", "minReadySeconds", "revisionHistoryLimit"):
        problems.not_negative(f"spec.{key}", spec.get(key))
    problems.not_negative("spec.ordinals.start", section(spec, "ordinals").get("start"))
    policy = spec.get("podManagementPolicy")
    if policy not in _POLICIES:
        problems.invalid("spec.podManagementPolicy", policy, "must be 'OrderedReady' or 'Parallel'")
    retention = section(spec, "persistentVolumeClaimRetentionPolicy")
    for key in ("whenDeleted", "whenScaled"):
        problems.one_of(f"spec.persistentVolumeClaimRetentionPolicy.{key}", retention.get(key), _RETENTION)
    _check_strategy(section(spec, "updateStrategy"), problems)
    if before is None:
        if service := spec.get("serviceName"):
            problems.invalid_each("spec.serviceName", service, names.dns1123_label(service))
        _check_claims(spec.get("volumeClaimTemplates") or [], problems)
    check_selector(spec, None, "empty selector is invalid for statefulset", problems)
    _check_template(spec, before, problems)


def _check_strategy(strategy: Obj, problems: Problems) -> None:
    kind, rolling = strategy.get("type"), strategy.get("rollingUpdate")
    path = "spec.updateStrategy"
    if kind == "OnDelete":
        if rolling is not None:
            problems.invalid(f"{path}.rollingUpdate", rolling, "only allowed for updateStrategy 'RollingUpdate'")
    elif kind != "RollingUpdate":
        problems.invalid(path, strategy, "must be 'RollingUpdate' or 'OnDelete'")
    elif rolling is not None:
        problems.not_negative(f"{path}.rollingUpdate.partition", rolling.get("partition"))
        if (most := rolling.get("maxUnavailable")) is not None:
            where = f"{path}.rollingUpdate.maxUnavailable"
            amount = check_amount(most, where, problems)
            if amount == 0:
                problems.invalid(where, most, "cannot be 0")


def _check_claims(claims: list[Obj], problems: Problems) -> None:
    seen = set()
    for index, claim in enumerate(claims):
        path = f"spec.volumeClaimTemplates[{index}]"
        name = section(claim, "metadata").get("name") or ""
        if not name:
            problems.required(f"{path}.metadata.name")
        elif name in seen:
            problems.duplicate(f"{path}.metadata.name", name)
        else:
            problems.invalid_each(f"{path}.metadata.name", name, names.dns1123_label(name))
        seen.add(name)
        check_claim_spec(section(claim, "spec"), f"{path}.spec", problems)


def _check_template(spec: Obj, before: Obj | None, problems: Problems) -> None:
    """The template as its pods will be: with a volume for every claim template."""
    template = section(spec, "template")
    if before is not None and template == section(before, "template"):
        return
    claims = [section(claim, "metadata").get("name") for claim in spec.get("volumeClaimTemplates") or ()]
    pod = section(template, "spec")
    volumes = [{"name": name, "persistentVolumeClaim": {"claimName": name}} for name in claims if name]
    volumes += [volume for volume in pod.get("volumes") or () if volume.get("name") not in claims]
    check_template_of("StatefulSet", {**template, "spec": {**pod, "volumes": volumes}}, problems)


KIND = Kind(
    view=StatefulSet,
    short_names=("sts",),
    categories=("all",),
    subresources=frozenset({"status", "scale"}),
    columns=(
        NAME,
        Column("Ready", ready_of_wanted, "Pods that are ready, of those wanted."),
        AGE,
        *container_columns("spec", "template"),
    ),
    name_rule=names.dns1123_label,
    generation_fields=("spec",),
    defaults=_defaults,
    rules=_rules,
)
