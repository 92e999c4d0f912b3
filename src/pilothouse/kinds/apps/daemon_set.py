"""DaemonSet."""

from __future__ import annotations

from typing import ClassVar

import msgspec

from pilothouse.kinds.apps.rules import check_rolling, check_selector, check_share, check_template_of, selector_columns
from pilothouse.kinds.columns import AGE, NAME, Column, container_columns, field, pairs
from pilothouse.kinds.core.pod_defaults import default_template
from pilothouse.kinds.equality import same
from pilothouse.kinds.kind import Kind
from pilothouse.kinds.problems import Problems, section
from pilothouse.kinds.view import Condition, LabelSelector, Object, View
from pilothouse.machinery.objects import Obj, Resource


class RollingUpdateDaemonSet(View):
    max_unavailable: int | str | None = None
    max_surge: int | str | None = None


class DaemonSetUpdateStrategy(View):
    type: str = "RollingUpdate"
    rolling_update: RollingUpdateDaemonSet | None = None


class DaemonSetSpec(View):
    """`template` is a PodTemplateSpec tree, passed on as it is."""

    selector: LabelSelector | None = None
    template: Obj = {}
    update_strategy: DaemonSetUpdateStrategy = msgspec.field(default_factory=DaemonSetUpdateStrategy)
    min_ready_seconds: int = 0
    revision_history_limit: int | None = None


class DaemonSetStatus(View):
    current_number_scheduled: int = 0
    number_misscheduled: int = 0
    desired_number_scheduled: int = 0
    number_ready: int = 0
    observed_generation: int = 0
    updated_number_scheduled: int = 0
    number_available: int = 0
    number_unavailable: int = 0
    collision_count: int | None = None
    conditions: list[Condition] = []


class DaemonSet(Object):
    resource: ClassVar[Resource] = Resource("apps", "v1", "DaemonSet", "daemonsets", True)

    spec: DaemonSetSpec = msgspec.field(default_factory=DaemonSetSpec)
    status: DaemonSetStatus = msgspec.field(default_factory=DaemonSetStatus)


TEMPLATE_GENERATION = "deprecated.daemonset.template.generation"
_STRATEGIES = ("OnDelete", "RollingUpdate")


def _defaults(obj: Obj) -> None:
    spec = obj.setdefault("spec", {})
    strategy = spec.setdefault("updateStrategy", {})
    strategy["type"] = strategy.get("type") or "RollingUpdate"
    if strategy["type"] == "RollingUpdate":
        rolling = strategy.setdefault("rollingUpdate", {})
        rolling.setdefault("maxUnavailable", 1)
        rolling.setdefault("maxSurge", 0)
    spec.setdefault("revisionHistoryLimit", 10)
    default_template(spec.setdefault("template", {}))


def _rules(obj: Obj, old: Obj | None, problems: Problems) -> None:
    spec = section(obj, "spec")
    before = None if old is None else section(old, "spec")
    if spec == before:
        return
    check_selector(spec, before, "empty selector is invalid for daemonset", problems)
    if before is None or section(spec, "template") != section(before, "template"):
        check_template_of("DaemonSet", section(spec, "template"), problems)
    problems.not_negative("spec.minReadySeconds", spec.get("minReadySeconds"))
    _check_strategy(section(spec, "updateStrategy"), problems)
    problems.not_negative("spec.revisionHistoryLimit", spec.get("revisionHistoryLimit"))


def _on_create(obj: Obj) -> None:
    _made(obj, "metadata", "annotations")[TEMPLATE_GENERATION] = "1"


def _on_update(new: Obj, old: Obj) -> None:
    """Counts templates, as upstream still does for clients of old."""
    told = section(section(old, "metadata"), "annotations").get(TEMPLATE_GENERATION) or "1"
    count = int(told) if told.isascii() and told.isdigit() else 1
    changed = not same(section(section(new, "spec"), "template"), section(section(old, "spec"), "template"))
    _made(new, "metadata", "annotations")[TEMPLATE_GENERATION] = str(count + changed)


def _made(obj: Obj, *path: str) -> Obj:
    """The object at a path, made where it is missing."""
    for key in path:
        obj[key] = obj.get(key) or {}
        obj = obj[key]
    return obj


def _check_strategy(strategy: Obj, problems: Problems) -> None:
    path = "spec.updateStrategy"
    problems.one_of(f"{path}.type", strategy.get("type"), _STRATEGIES)
    if strategy.get("type") != "RollingUpdate":
        return
    rolling = strategy.get("rollingUpdate")
    if rolling is None:
        problems.required(f"{path}.rollingUpdate")
        return
    path += ".rollingUpdate"
    unavailable, surge = check_rolling(rolling, path, problems)
    for key in ("maxUnavailable", "maxSurge"):
        check_share(rolling, key, path, problems)
    if unavailable and surge:
        problems.invalid(f"{path}.maxSurge", rolling["maxSurge"], "may not be set when maxUnavailable is non-zero")
    elif not unavailable and not surge:
        problems.required(f"{path}.maxUnavailable", "cannot be 0 when maxSurge is 0")


def _count(title: str, key: str, description: str) -> Column:
    return Column(title, field("status", key, default=0), description, type="integer")


KIND = Kind(
    view=DaemonSet,
    short_names=("ds",),
    categories=("all",),
    subresources=frozenset({"status"}),
    columns=(
        NAME,
        _count("Desired", "desiredNumberScheduled", "Nodes that should run a pod of it."),
        _count("Current", "currentNumberScheduled", "Nodes that should and do."),
        _count("Ready", "numberReady", "Nodes whose pod is ready."),
        _count("Up-to-date", "updatedNumberScheduled", "Nodes with a pod of the current template."),
        _count("Available", "numberAvailable", "Nodes whose pod is ready for long enough."),
        Column(
            "Node Selector",
            lambda obj: pairs(section(section(section(obj, "spec"), "template"), "spec").get("nodeSelector")),
            "Labels of the nodes it is for.",
        ),
        AGE,
        *container_columns("spec", "template"),
        *selector_columns(),
    ),
    generation_fields=("spec",),
    on_create=_on_create,
    on_update=_on_update,
    defaults=_defaults,
    rules=_rules,
)
