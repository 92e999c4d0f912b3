"""How far a namespace's deletion has come, as its conditions say it. Pure."""

from __future__ import annotations

import datetime as dt
from collections import Counter
from dataclasses import dataclass, field

from pilothouse.controllers.conditions import find, with_condition
from pilothouse.kinds.core.namespace import Namespace
from pilothouse.kinds.view import Condition
from pilothouse.machinery.objects import Resource

FINALIZER = "kubernetes"
_DISCOVERED = "All resources successfully discovered"
_PARSED = "All legacy kube types successfully parsed"


@dataclass(frozen=True, slots=True)
class Content:
    """What is left: objects by resource, the finalizers that hold them, and what could not be listed or deleted.

    `held` names the first few objects that have a finalizer, as `configmaps/name`.
    """

    remaining: dict[Resource, int] = field(default_factory=dict)
    finalizers: Counter[str] = field(default_factory=Counter)
    errors: list[str] = field(default_factory=list)
    held: list[str] = field(default_factory=list)

    @property
    def empty(self) -> bool:
        return not self.errors and not any(self.remaining.values())


def conditions(namespace: Namespace, content: Content, now: dt.datetime) -> list[Condition]:
    """The namespace's conditions; the same list when nothing changes. Types and reasons are upstream's."""
    result = namespace.status.conditions
    for condition in _wanted(content):
        current = find(result, condition.type)
        if current is None and condition.status == "False" and content.empty:
            continue
        if current is None or (current.status, current.reason, current.message) != (
            condition.status,
            condition.reason,
            condition.message,
        ):
            result = with_condition(result, condition, now)
    return result


def blocked(content: Content) -> str:
    """What keeps the namespace and does not go by waiting: errors and finalizers; empty when there is neither."""
    told = {condition.type: condition.message for condition in _wanted(content) if condition.status == "True"}
    names = ("NamespaceDeletionContentFailure", "NamespaceFinalizersRemaining")
    return "; ".join(told[name] for name in names if name in told)


def _wanted(content: Content) -> list[Condition]:
    remains = [
        f"{_name(resource)} has {count} resource instances"
        for resource, count in sorted(content.remaining.items())
        if count
    ]
    holds = [f"{name} in {count} resource instances" for name, count in sorted(content.finalizers.items())]
    errors = "; ".join(content.errors)
    named = f" ({', '.join(content.held)})" if content.held else ""
    return [
        # All kinds are known from the start or from their definitions, so these two never fail.
        _condition("NamespaceDeletionDiscoveryFailure", "", "", "ResourcesDiscovered", _DISCOVERED),
        _condition("NamespaceDeletionGroupVersionParsingFailure", "", "", "ParsedGroupVersions", _PARSED),
        _condition("NamespaceDeletionContentFailure", errors, "ContentDeletionFailed", "ContentDeleted")
        if errors
        else _condition(
            "NamespaceDeletionContentFailure",
            "",
            "",
            "ContentDeleted",
            "All content successfully deleted, may be waiting on finalization",
        ),
        _condition(
            "NamespaceContentRemaining",
            f"Some resources are remaining: {', '.join(remains)}" if remains else "",
            "SomeResourcesRemain",
            "ContentRemoved",
            "All content successfully removed",
        ),
        _condition(
            "NamespaceFinalizersRemaining",
            f"Some content in the namespace has finalizers remaining: {', '.join(holds)}{named}" if holds else "",
            "SomeFinalizersRemain",
            "ContentHasNoFinalizers",
            "All content-preserving finalizers finished",
        ),
    ]


def _condition(type: str, problem: str, bad: str, good: str, fine: str = "") -> Condition:
    if problem:
        return Condition(type=type, status="True", reason=bad, message=problem)
    return Condition(type=type, status="False", reason=good, message=fine)


def _name(resource: Resource) -> str:
    return f"{resource.plural}.{resource.group}"
