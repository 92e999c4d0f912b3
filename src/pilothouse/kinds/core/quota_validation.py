"""Rules for ResourceQuotas. Source: `ValidateResourceQuota` of Kubernetes' core validation."""

from __future__ import annotations

from collections.abc import Iterable

from pilothouse.kinds.core.quantities import amount_of, check_quantity
from pilothouse.kinds.problems import IMMUTABLE, Problems, section
from pilothouse.machinery import names
from pilothouse.machinery.objects import Obj

_COUNTED = frozenset(
    {
        "configmaps",
        "persistentvolumeclaims",
        "pods",
        "replicationcontrollers",
        "resourcequotas",
        "secrets",
        "services",
        "services.loadbalancers",
        "services.nodeports",
    }
)
_COMPUTE = frozenset({"cpu", "memory", "limits.cpu", "limits.memory", "requests.cpu", "requests.memory"})
_STORAGE = frozenset({"ephemeral-storage", "limits.ephemeral-storage", "requests.ephemeral-storage"})
_STANDARD = _COUNTED | _COMPUTE | _STORAGE | {"requests.storage"}
_OF_PODS = _COMPUTE | {"pods"}
_OF_CLAIMS = frozenset({"persistentvolumeclaims", "requests.storage"})
_SCOPES = {
    "BestEffort": frozenset({"pods"}),
    "CrossNamespacePodAffinity": _OF_PODS,
    "NotBestEffort": _OF_PODS,
    "NotTerminating": _OF_PODS,
    "PriorityClass": _OF_PODS,
    "Terminating": _OF_PODS,
    "VolumeAttributesClass": _OF_CLAIMS,
}
"""Each scope, and the standard names it may limit."""
_CONFLICTS = (("BestEffort", "NotBestEffort"), ("NotTerminating", "Terminating"))
_WITHOUT_VALUES = frozenset(_SCOPES) - {"PriorityClass", "VolumeAttributesClass"}
_ONLY_EXISTS = (
    "must be 'Exist' when scope is any of ResourceQuotaScopeTerminating, ResourceQuotaScopeNotTerminating, "
    "ResourceQuotaScopeBestEffort, ResourceQuotaScopeNotBestEffort or ResourceQuotaScopeCrossNamespacePodAffinity"
)


def check_quota(obj: Obj, old: Obj | None, problems: Problems) -> None:
    spec = section(obj, "spec")
    hard = section(spec, "hard")
    check_amounts(hard, "spec.hard", problems)
    _check_scopes(spec.get("scopes") or [], hard, problems)
    if "scopeSelector" in spec:
        _check_selector(section(spec, "scopeSelector"), hard, problems)
    for key in ("hard", "used"):
        check_amounts(section(section(obj, "status"), key), f"status.{key}", problems)
    if old is not None and set(section(old, "spec").get("scopes") or ()) != set(spec.get("scopes") or ()):
        problems.invalid("spec.scopes", spec.get("scopes") or [], IMMUTABLE)


def check_amounts(amounts: Obj, path: str, problems: Problems) -> None:
    """Names that a quota may limit, and their amounts."""
    for name, amount in amounts.items():
        at = f"{path}[{name}]"
        problems.invalid_each(at, name, names.label_key(name))
        if "/" not in name and name not in _STANDARD and not _of_huge_pages(name):
            problems.invalid(at, name, "must be a standard resource for quotas")
        if not check_quantity(amount, at, problems):
            continue
        number = amount_of(amount)
        if (name in _COUNTED or "/" in name) and number is not None and number.denominator != 1:
            problems.invalid(at, amount, "must be an integer")


def _of_huge_pages(name: str) -> bool:
    return name.removeprefix("requests.").startswith("hugepages-")


def _fits(scope: str, hard: Iterable[str]) -> bool:
    return all(name in _SCOPES[scope] for name in hard if name in _STANDARD)


def _check_scopes(scopes: list[str], hard: Obj, problems: Problems) -> None:
    path = "spec.scopes"
    for scope in scopes:
        if scope not in _SCOPES:
            problems.invalid(path, scopes, "unsupported scope")
        elif not _fits(scope, hard):
            problems.invalid(path, scopes, "unsupported scope applied to resource")
    _check_conflicts(set(scopes), scopes, path, problems)


def _check_conflicts(found: set[str], shown: object, path: str, problems: Problems) -> None:
    for pair in _CONFLICTS:
        if found.issuperset(pair):
            problems.invalid(path, shown, "conflicting scopes")


def _check_selector(selector: Obj, hard: Obj, problems: Problems) -> None:
    path = "spec.scopeSelector.matchExpressions"
    found: set[str] = set()
    for requirement in selector.get("matchExpressions") or ():
        scope, operator = requirement.get("scopeName") or "", requirement.get("operator") or ""
        values = requirement.get("values") or []
        found.add(scope)
        if scope not in _SCOPES:
            problems.invalid(f"{path}.scopeName", scope, "unsupported scope")
        elif not _fits(scope, hard):
            problems.invalid(path, selector, "unsupported scope applied to resource")
        if scope in _WITHOUT_VALUES and operator != "Exists":
            problems.invalid(f"{path}.operator", operator, _ONLY_EXISTS)
        _check_values(operator, values, path, problems)
    _check_conflicts(found, selector, path, problems)


def _check_values(operator: str, values: list[str], path: str, problems: Problems) -> None:
    if operator in ("In", "NotIn"):
        if not values:
            problems.required(
                f"{path}.values", "must be at least one value when `operator` is 'In' or 'NotIn' for scope selector"
            )
    elif operator in ("Exists", "DoesNotExist"):
        if values:
            problems.invalid(
                f"{path}.values",
                values,
                "must be no value when `operator` is 'Exist' or 'DoesNotExist' for scope selector",
            )
    else:
        problems.invalid(f"{path}.operator", operator, "not a valid selector operator")
