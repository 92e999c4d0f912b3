"""Rules for a container's resource requests and limits.

Source: `ValidateContainerResourceRequirements` of Kubernetes' core validation.
"""

from __future__ import annotations

from pilothouse.kinds.core.quantities import amount_of, check_quantity
from pilothouse.kinds.problems import Problems
from pilothouse.machinery import names
from pilothouse.machinery.objects import Obj

_STANDARD = frozenset({"cpu", "memory", "ephemeral-storage"})
_PAGES = "hugepages-"


def check_resources(resources: Obj, path: str, problems: Problems) -> None:
    """Names and amounts, and that no request is above its limit."""
    limits, requests = resources.get("limits") or {}, resources.get("requests") or {}
    if not limits and not requests and not resources.get("claims"):
        return
    if resources.get("claims"):
        problems.forbidden(f"{path}.claims", "device claims are not supported by Pilothouse")
    good_limits = {key for key, value in limits.items() if _check_amount(key, value, f"{path}.limits", problems)}
    good_requests = {key for key, value in requests.items() if _check_amount(key, value, f"{path}.requests", problems)}
    if any(map(_is_pages, (*limits, *requests))) and not {"cpu", "memory"}.intersection((*limits, *requests)):
        problems.forbidden(path, "HugePages require cpu or memory")
    for key in requests:
        if key in good_requests and key in good_limits:
            _check_within(key, requests[key], limits[key], f"{path}.requests", problems)
        elif key not in limits and not _may_exceed(key):
            problems.required(f"{path}.limits", "Limit must be set for non overcommitable resources")


def _check_amount(key: str, amount: str, path: str, problems: Problems) -> bool:
    at = f"{path}[{key}]"
    if key not in _STANDARD and not _is_pages(key):
        problems.invalid_each(path, key, names.label_key(key))
        if "/" not in key:
            problems.invalid(path, key, "must be a standard resource for containers")
            return False
    if not check_quantity(amount, at, problems):
        return False
    if _is_pages(key) and not _is_multiple(key, amount):
        problems.invalid(path.rpartition(".")[0], amount, f"{amount} is not positive integer multiple of {key}")
    if not _may_exceed(key) and (number := amount_of(amount)) is not None and number.denominator != 1:
        problems.invalid(at, amount, "must be an integer")
        return False
    return True


def _check_within(key: str, request: str, limit: str, path: str, problems: Problems) -> None:
    if request == limit:
        return
    asked, bound = amount_of(request), amount_of(limit)
    if asked is None or bound is None:
        return
    if _may_exceed(key):
        if asked > bound:
            problems.invalid(path, request, f"must be less than or equal to {key} limit of {limit}")
    elif asked != bound:
        problems.invalid(path, request, f"must be equal to {key} limit of {limit}")


def _is_pages(key: str) -> bool:
    return key.startswith(_PAGES)


def _is_multiple(key: str, amount: str) -> bool:
    size, asked = amount_of(key.removeprefix(_PAGES)), amount_of(amount)
    return not size or asked is None or (asked / size).denominator == 1


def _may_exceed(key: str) -> bool:
    """Whether a node may promise more of it than it has, so that limits may be above requests."""
    return key in _STANDARD
