"""PodDisruptionBudget."""

from __future__ import annotations

from typing import ClassVar

import msgspec

from pilothouse.kinds.apps.rules import check_amount
from pilothouse.kinds.columns import AGE, NAME, Column, field
from pilothouse.kinds.kind import Kind
from pilothouse.kinds.label_selectors import check_label_selector
from pilothouse.kinds.problems import Problems, section
from pilothouse.kinds.view import Condition, LabelSelector, Object, View
from pilothouse.machinery import names
from pilothouse.machinery.objects import Obj, Resource


class PodDisruptionBudgetSpec(View):
    """At most one of `min_available` and `max_unavailable` is set; text is a percentage."""

    min_available: int | str | None = None
    max_unavailable: int | str | None = None
    selector: LabelSelector | None = None
    unhealthy_pod_eviction_policy: str | None = None


class PodDisruptionBudgetStatus(View):
    """`disrupted_pods` holds when an eviction was granted, by the pod's name, until the pod is seen going."""

    observed_generation: int = 0
    disrupted_pods: dict[str, str] = {}
    disruptions_allowed: int = 0
    current_healthy: int = 0
    desired_healthy: int = 0
    expected_pods: int = 0
    conditions: list[Condition] = []


class PodDisruptionBudget(Object):
    resource: ClassVar[Resource] = Resource("policy", "v1", "PodDisruptionBudget", "poddisruptionbudgets", True)

    spec: PodDisruptionBudgetSpec = msgspec.field(default_factory=PodDisruptionBudgetSpec)
    status: PodDisruptionBudgetStatus = msgspec.field(default_factory=PodDisruptionBudgetStatus)


_UNHEALTHY = ("AlwaysAllow", "IfHealthyBudget")
_COUNTS = ("disruptionsAllowed", "currentHealthy", "desiredHealthy", "expectedPods")


def _rules(obj: Obj, old: Obj | None, problems: Problems) -> None:
    spec = section(obj, "spec")
    if old is None or spec != section(old, "spec"):
        _check_spec(spec, problems)
    if old is not None:
        for key in _COUNTS:
            problems.not_negative(f"status.{key}", section(obj, "status").get(key))


def _check_spec(spec: Obj, problems: Problems) -> None:
    """Source of the wording: upstream's policy validation."""
    if "minAvailable" in spec and "maxUnavailable" in spec:
        problems.invalid("spec", spec, "minAvailable and maxUnavailable cannot be both set")
    for key in ("minAvailable", "maxUnavailable"):
        if key in spec:
            amount = check_amount(spec[key], f"spec.{key}", problems)
            if isinstance(spec[key], str) and amount is not None and amount > 100:
                problems.invalid(f"spec.{key}", spec[key], "must not be greater than 100%")
    if "selector" in spec:
        check_label_selector(spec["selector"], "spec.selector", problems)
    problems.one_of(
        "spec.unhealthyPodEvictionPolicy", spec.get("unhealthyPodEvictionPolicy"), _UNHEALTHY, required=False
    )


def _amount(key: str, obj: Obj) -> str:
    return str(field("spec", key, default="N/A")(obj))


KIND = Kind(
    view=PodDisruptionBudget,
    short_names=("pdb",),
    subresources=frozenset({"status"}),
    columns=(
        NAME,
        Column("Min Available", lambda obj: _amount("minAvailable", obj), "Pods that must stay healthy."),
        Column("Max Unavailable", lambda obj: _amount("maxUnavailable", obj), "Pods that may be missing."),
        Column(
            "Allowed Disruptions",
            field("status", "disruptionsAllowed", default=0),
            "Pods that may be evicted now.",
            type="integer",
        ),
        AGE,
    ),
    generation_fields=("spec",),
    name_rule=names.path_segment,
    rules=_rules,
    bare_finalizers=True,
)
