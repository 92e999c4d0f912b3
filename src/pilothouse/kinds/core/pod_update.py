"""What of a pod may change. Source: `ValidatePodUpdate` of Kubernetes' core validation."""

from __future__ import annotations

from typing import Any

from pilothouse.kinds.core.placement_validation import check_tolerations
from pilothouse.kinds.core.security_validation import MAX_ID
from pilothouse.kinds.equality import changed_fields
from pilothouse.kinds.problems import Problems
from pilothouse.machinery.objects import Obj

_ONLY = (
    "pod updates may not change fields other than `spec.containers[*].image`,`spec.initContainers[*].image`,"
    "`spec.activeDeadlineSeconds`,`spec.tolerations` (only additions to existing tolerations),"
    "`spec.terminationGracePeriodSeconds` (allow it to be set to 1 if it was previously negative)"
)
_HANDLED = frozenset({"containers", "initContainers", "activeDeadlineSeconds", "tolerations", "schedulingGates"})


def check_pod_update(spec: Obj, old: Obj, problems: Problems) -> None:
    """Reports every change of a pod's spec that is not allowed."""
    changed: list[str] = []
    for key in ("containers", "initContainers"):
        _compare_containers(spec.get(key) or [], old.get(key) or [], key, changed, problems)
    _check_deadline(spec.get("activeDeadlineSeconds"), old.get("activeDeadlineSeconds"), problems)
    _check_added_tolerations(spec, old, changed, problems)
    gated = _check_gates(spec, old, problems)
    for key in changed_fields(spec, old):
        if key in _HANDLED:
            continue
        if key == "nodeSelector" and gated and (old.get(key) or {}).items() <= (spec.get(key) or {}).items():
            continue
        if key == "terminationGracePeriodSeconds" and (old.get(key) or 0) < 0 and spec.get(key) == 1:
            continue
        changed.append(f"spec.{key}")
    if changed:
        problems.forbidden("spec", f"{_ONLY}\nchanged here: {', '.join(changed)}")


def _compare_containers(new: list[Obj], old: list[Obj], key: str, changed: list[str], problems: Problems) -> None:
    if new == old:
        return
    if len(new) != len(old):
        problems.forbidden(f"spec.{key}", "pod updates may not add or remove containers")
        return
    for index, (container, before) in enumerate(zip(new, old)):
        path = f"spec.{key}[{index}]"
        if not container.get("image"):
            problems.required(f"{path}.image")
        changed += [f"{path}.{field}" for field in changed_fields(container, before) if field != "image"]


def _check_deadline(new: int | None, old: int | None, problems: Problems) -> None:
    path = "spec.activeDeadlineSeconds"
    problems.within(path, new, 1, MAX_ID)
    if old is None:
        return
    if new is None:
        problems.invalid(path, new, "must not update from a positive integer to nil value")
    elif new > old:
        problems.invalid(path, new, f"must be less than or equal to previous value {old}")


def _check_added_tolerations(spec: Obj, old: Obj, changed: list[str], problems: Problems) -> None:
    new, before = spec.get("tolerations") or [], old.get("tolerations") or []
    if new == before:
        return
    check_tolerations(new, "spec.tolerations", problems)

    # The seconds of an existing toleration may be changed, everything else of it not.
    def identity(toleration: Obj) -> dict[str, Any]:
        return {key: value for key, value in toleration.items() if key != "tolerationSeconds"}

    kept = [identity(toleration) for toleration in new]
    if any(identity(toleration) not in kept for toleration in before):
        changed.append("spec.tolerations")


def _check_gates(spec: Obj, old: Obj, problems: Problems) -> bool:
    """Gates may only be removed; True when the pod was held by one."""
    before = {gate.get("name") for gate in old.get("schedulingGates") or ()}
    for gate in spec.get("schedulingGates") or ():
        if gate.get("name") not in before:
            problems.forbidden(
                "spec.schedulingGates", f"only deletion is allowed, but found new scheduling gate '{gate.get('name')}'"
            )
    return bool(before)
