"""Deployment."""

from __future__ import annotations

from typing import ClassVar

import msgspec

from pilothouse.kinds.apps.rules import (
    check_rolling,
    check_selected_template,
    check_share,
    ready_of_wanted,
    selector_columns,
)
from pilothouse.kinds.columns import AGE, NAME, Column, container_columns, field
from pilothouse.kinds.core.pod_defaults import default_template
from pilothouse.kinds.kind import Kind
from pilothouse.kinds.problems import Problems, section
from pilothouse.kinds.view import Condition, LabelSelector, Object, View
from pilothouse.machinery.objects import Obj, Resource


class RollingUpdateDeployment(View):
    max_unavailable: int | str | None = None
    max_surge: int | str | None = None


class DeploymentStrategy(View):
    type: str = "RollingUpdate"
    rolling_update: RollingUpdateDeployment | None = None


class DeploymentSpec(View):
    """`template` is a PodTemplateSpec tree, passed on as it is."""

    replicas: int | None = None
    selector: LabelSelector | None = None
    template: Obj = {}
    strategy: DeploymentStrategy = msgspec.field(default_factory=DeploymentStrategy)
    min_ready_seconds: int = 0
    revision_history_limit: int | None = None
    paused: bool = False
    progress_deadline_seconds: int | None = None


class DeploymentStatus(View):
    observed_generation: int = 0
    replicas: int = 0
    updated_replicas: int = 0
    ready_replicas: int = 0
    available_replicas: int = 0
    unavailable_replicas: int = 0
    terminating_replicas: int | None = None
    collision_count: int | None = None
    conditions: list[Condition] = []


class Deployment(Object):
    resource: ClassVar[Resource] = Resource("apps", "v1", "Deployment", "deployments", True)

    spec: DeploymentSpec = msgspec.field(default_factory=DeploymentSpec)
    status: DeploymentStatus = msgspec.field(default_factory=DeploymentStatus)


_STRATEGIES = ("Recreate", "RollingUpdate")


def _defaults(obj: Obj) -> None:
    spec = obj.setdefault("spec", {})
    spec.setdefault("replicas", 1)
    strategy = spec.setdefault("strategy", {})
    strategy["type"] = strategy.get("type") or "RollingUpdate"
    if strategy["type"] == "RollingUpdate":
        rolling = strategy.setdefault("rollingUpdate", {})
        rolling.setdefault("maxUnavailable", "25%")
        rolling.setdefault("maxSurge", "25%")
    spec.setdefault("revisionHistoryLimit", 10)
    spec.setdefault("progressDeadlineSeconds", 600)
    default_template(spec.setdefault("template", {}))


def _rules(obj: Obj, old: Obj | None, problems: Problems) -> None:
    spec = section(obj, "spec")
    before = None if old is None else section(old, "spec")
    if spec == before:
        return
    problems.not_negative("spec.replicas", spec.get("replicas"))
    check_selected_template(spec, before, "empty selector is invalid for deployment", problems)
    _check_strategy(section(spec, "strategy"), problems)
    for key in ("minReadySeconds", "revisionHistoryLimit", "progressDeadlineSeconds"):
        problems.not_negative(f"spec.{key}", spec.get(key))
    deadline = spec.get("progressDeadlineSeconds")
    if deadline is not None and deadline <= spec.get("minReadySeconds", 0):
        problems.invalid("spec.progressDeadlineSeconds", deadline, "must be greater than minReadySeconds")


def _check_strategy(strategy: Obj, problems: Problems) -> None:
    kind, rolling = strategy.get("type"), strategy.get("rollingUpdate")
    if kind not in _STRATEGIES:
        problems.unsupported("spec.strategy", strategy, _STRATEGIES)
    if kind == "Recreate" and rolling is not None:
        problems.forbidden("spec.strategy.rollingUpdate", "may not be specified when strategy `type` is 'Recreate'")
    elif kind == "RollingUpdate" and rolling is not None:
        path = "spec.strategy.rollingUpdate"
        unavailable, surge = check_rolling(rolling, path, problems)
        if unavailable == 0 and surge == 0:
            problems.invalid(
                f"{path}.maxUnavailable", rolling.get("maxUnavailable"), "may not be 0 when `maxSurge` is 0"
            )
        check_share(rolling, "maxUnavailable", path, problems)


KIND = Kind(
    view=Deployment,
    short_names=("deploy",),
    categories=("all",),
    subresources=frozenset({"status", "scale"}),
    columns=(
        NAME,
        Column("Ready", ready_of_wanted, "Pods that are ready, of those wanted."),
        Column("Up-to-date", field("status", "updatedReplicas", default=0), "Pods of the current template."),
        Column("Available", field("status", "availableReplicas", default=0), "Pods ready for long enough."),
        AGE,
        *container_columns("spec", "template"),
        *selector_columns(),
    ),
    generation_fields=("spec",),
    defaults=_defaults,
    rules=_rules,
)
