"""Defaults and rules of the bindings of validating and of mutating policies.

Source of messages: Kubernetes' `pkg/apis/admissionregistration/validation`.
"""

from __future__ import annotations

from collections.abc import Sequence

from pilothouse.kinds.admissionregistration.rules import check_match_resources, default_match_resources
from pilothouse.kinds.label_selectors import check_label_selector
from pilothouse.kinds.problems import Problems, section
from pilothouse.machinery import names
from pilothouse.machinery.objects import Obj

_ACTIONS = ("Audit", "Deny", "Warn")
_NOT_FOUND = ("Allow", "Deny")
_EXCLUSIVE = "name and selector are mutually exclusive"
_TWICE = (
    "must not contain both Deny and Warn (repeating the same validation failure information in the API response and "
    "headers serves no purpose)"
)


def default_binding(obj: Obj) -> None:
    """The defaults of what it selects."""
    default_match_resources(obj.setdefault("spec", {}).get("matchResources"))


def check_binding(obj: Obj, old: Obj | None, problems: Problems) -> None:
    """The whole specification of a validating policy's binding."""
    check_common_binding(obj, old, problems)
    _check_actions(section(obj, "spec").get("validationActions") or [], problems)


def check_common_binding(obj: Obj, old: Obj | None, problems: Problems) -> None:
    """What bindings of validating and of mutating policies have."""
    spec = section(obj, "spec")
    policy = spec.get("policyName") or ""
    if not policy:
        problems.required("spec.policyName")
    else:
        problems.invalid_each("spec.policyName", policy, names.dns1123_subdomain(policy))
    if spec.get("paramRef") is not None:
        _check_reference(spec["paramRef"], problems)
    if spec.get("matchResources") is not None:
        check_match_resources(spec["matchResources"], "spec.matchResources", problems)


def _check_reference(reference: Obj, problems: Problems) -> None:
    name, selector, path = reference.get("name") or "", reference.get("selector"), "spec.paramRef"
    if name:
        problems.invalid_each(f"{path}.name", name, names.path_segment(name))
        if selector is not None:
            problems.forbidden(f"{path}.name", _EXCLUSIVE)
    if selector is not None:
        check_label_selector(selector, f"{path}.selector", problems)
        if name:
            problems.forbidden(f"{path}.selector", _EXCLUSIVE)
    if not name and selector is None:
        problems.required(path, "one of name or selector must be specified")
    problems.one_of(f"{path}.parameterNotFoundAction", reference.get("parameterNotFoundAction"), _NOT_FOUND)


def _check_actions(actions: Sequence[str], problems: Problems) -> None:
    path = "spec.validationActions"
    seen: set[str] = set()
    for index, action in enumerate(actions):
        if action not in _ACTIONS:
            problems.unsupported(f"{path}[{index}]", action, _ACTIONS)
        if action in seen:
            problems.duplicate(f"{path}[{index}]", action)
        seen.add(action)
    if {"Deny", "Warn"} <= seen:
        problems.invalid(path, list(actions), _TWICE)
    if not actions:
        problems.required(path, "at least one validation action is required")
