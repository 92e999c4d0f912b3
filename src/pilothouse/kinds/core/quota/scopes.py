"""Scopes of a quota: which of the objects it counts."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from pilothouse.kinds.core.pod import Pod
from pilothouse.kinds.core.pod_spec import PodAffinityTerm
from pilothouse.kinds.core.quantities import amount_of
from pilothouse.kinds.core.resource_quota import ResourceQuota, ScopedResourceSelectorRequirement

_ASKED = ("cpu", "memory")


@dataclass(frozen=True, slots=True)
class PodScopes:
    """What scopes ask of a pod."""

    terminating: bool
    best_effort: bool
    across_namespaces: bool
    priority_class: str


@dataclass(frozen=True, slots=True)
class ClaimScopes:
    """What scopes ask of a claim."""

    attributes_class: str


Scopes = PodScopes | ClaimScopes | None
"""None for kinds that no scope is about."""


def scopes_of_pod(pod: Pod) -> PodScopes:
    deadline = pod.spec.active_deadline_seconds
    return PodScopes(
        terminating=deadline is not None and deadline >= 0,
        best_effort=not any(_asks(pod)),
        across_namespaces=any(term.namespaces or term.namespace_selector is not None for term in _terms(pod)),
        priority_class=pod.spec.priority_class_name,
    )


def _asks(pod: Pod) -> list[bool]:
    """For every container and resource that counts: whether it is asked for."""
    containers = [*pod.spec.init_containers, *pod.spec.containers]
    maps = [
        quantities
        for resources in (pod.spec.resources, *(container.resources for container in containers))
        if resources is not None
        for quantities in (resources.requests, resources.limits)
    ]
    return [bool(amount_of(quantities[name])) for quantities in maps for name in _ASKED if name in quantities]


def _terms(pod: Pod) -> list[PodAffinityTerm]:
    affinity = pod.spec.affinity
    found: list[PodAffinityTerm] = []
    for side in (affinity.pod_affinity, affinity.pod_anti_affinity) if affinity is not None else ():
        if side is not None:
            found += side.required_during_scheduling_ignored_during_execution
            found += [
                weighted.pod_affinity_term for weighted in side.preferred_during_scheduling_ignored_during_execution
            ]
    return found


def requirements(quota: ResourceQuota) -> list[ScopedResourceSelectorRequirement]:
    """All of a quota's scopes, those of the plain list as `Exists`."""
    found = [ScopedResourceSelectorRequirement(scope_name=name, operator="Exists") for name in quota.spec.scopes]
    if quota.spec.scope_selector is not None:
        found += quota.spec.scope_selector.match_expressions
    return found


_POD_TESTS: dict[str, Callable[[PodScopes], bool]] = {
    "Terminating": lambda pod: pod.terminating,
    "NotTerminating": lambda pod: not pod.terminating,
    "BestEffort": lambda pod: pod.best_effort,
    "NotBestEffort": lambda pod: not pod.best_effort,
    "CrossNamespacePodAffinity": lambda pod: pod.across_namespaces,
}


def selected(requirement: ScopedResourceSelectorRequirement, scopes: Scopes) -> bool:
    """Whether an object is within a scope."""
    name = requirement.scope_name
    if isinstance(scopes, PodScopes):
        test = _POD_TESTS.get(name)
        if test is not None:
            return test(scopes)
        return name == "PriorityClass" and _holds(requirement, scopes.priority_class)
    if isinstance(scopes, ClaimScopes):
        return name == "VolumeAttributesClass" and _holds(requirement, scopes.attributes_class)
    return False


def _holds(requirement: ScopedResourceSelectorRequirement, value: str) -> bool:
    match requirement.operator:
        case "Exists":
            return bool(value)
        case "DoesNotExist":
            return not value
        case "In":
            return value in requirement.values
        case "NotIn":
            return value not in requirement.values
        case _:
            return False
