"""What controls have in common: a view of the pod's containers, and what a control finds. Pure."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from pilothouse.machinery.objects import Obj


class Violation(NamedTuple):
    """A control that a pod breaks: `reason` names it, `detail` says where and what to set instead."""

    reason: str
    detail: str

    def __str__(self) -> str:
        return f"{self.reason} ({self.detail})" if self.detail else self.reason


@dataclass(frozen=True, slots=True)
class Subject:
    """A pod (or a pod template) taken apart."""

    annotations: Obj
    spec: Obj
    context: Obj
    containers: list[Obj]
    windows: bool
    own_users: bool
    """In a user namespace of its own, so that its root is nobody on the host."""


Check = Callable[[Subject], Violation | None]


class Control:
    """A rule by the minor version of Kubernetes from which each form of it holds, oldest first."""

    def __init__(self, *forms: tuple[int, Check], replaces: Control | None = None) -> None:
        self._forms = forms
        self.replaces = replaces
        """A control of a weaker level that says less: naming both would say the same twice."""

    def at(self, minor: int) -> Check | None:
        """The form that holds in a version, None before the first."""
        return next((check for since, check in reversed(self._forms) if since <= minor), None)


def subject_of(pod: Obj) -> Subject:
    """Takes apart anything with `metadata` and a pod's `spec`."""
    spec = pod.get("spec") or {}
    containers = [
        container
        for field in ("initContainers", "containers", "ephemeralContainers")
        for container in spec.get(field) or ()
    ]
    return Subject(
        (pod.get("metadata") or {}).get("annotations") or {},
        spec,
        spec.get("securityContext") or {},
        containers,
        (spec.get("os") or {}).get("name") == "windows",
        spec.get("hostUsers") is False,
    )


def context_of(container: Obj) -> Obj:
    """A container's security context."""
    context: Obj = container.get("securityContext") or {}
    return context


def listed(kind: str, names: Iterable[str]) -> str:
    """`container "a"`, or `containers "a", "b"`."""
    found = list(dict.fromkeys(names))
    return f"{kind}{'s' if len(found) > 1 else ''} " + ", ".join(f'"{name}"' for name in found)


def in_containers(reason: str, names: Sequence[str], rule: str) -> Violation | None:
    """The violation of a rule by these containers, None when there are none."""
    return Violation(reason, f"{listed('container', names)} {rule}") if names else None
