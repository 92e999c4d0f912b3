"""Rules for LimitRanges. Source: `ValidateLimitRange` of Kubernetes' core validation."""

from __future__ import annotations

from fractions import Fraction

from pilothouse.kinds.core.quantities import BAD_QUANTITY, amount_of
from pilothouse.kinds.problems import Problems, section
from pilothouse.machinery import names
from pilothouse.machinery.objects import Obj

_TYPES = frozenset({"Container", "PersistentVolumeClaim", "Pod"})
_OF_CONTAINERS = frozenset({"cpu", "memory", "ephemeral-storage"})
_STANDARD = _OF_CONTAINERS | {"storage", "pods", "services", "secrets", "configmaps", "persistentvolumeclaims"}
_MAPS = ("max", "min", "default", "defaultRequest", "maxLimitRequestRatio")
_POD_DEFAULTS = ("default", "defaultRequest")


def check_limit_range(obj: Obj, old: Obj | None, problems: Problems) -> None:
    seen: set[str] = set()
    for index, item in enumerate(section(obj, "spec").get("limits") or ()):
        path, type_ = f"spec.limits[{index}]", item.get("type") or ""
        problems.invalid_each(f"{path}.type", type_, names.label_key(type_))
        if "/" not in type_ and type_ not in _TYPES:
            problems.invalid(f"{path}.type", type_, "must be a standard limit type or fully qualified")
        if type_ in seen:
            problems.duplicate(f"{path}.type", type_)
        seen.add(type_)
        _check_item(item, type_, path, problems)


def _check_item(item: Obj, type_: str, path: str, problems: Problems) -> None:
    for key in _MAPS:
        if type_ == "Pod" and key in _POD_DEFAULTS:
            if item.get(key):
                problems.forbidden(f"{path}.{key}", "may not be specified when `type` is 'Pod'")
            continue
        for name in section(item, key):
            _check_name(name, type_, f"{path}.{key}[{name}]", problems)
    if type_ == "PersistentVolumeClaim" and "storage" not in section(item, "min") | section(item, "max"):
        problems.required(
            f"{path}.limits", "either minimum or maximum storage value is required, but neither was provided"
        )
    for name in sorted({name for key in _MAPS for name in section(item, key)}):
        _check_order(item, name, path, problems)


def _check_name(name: str, type_: str, path: str, problems: Problems) -> None:
    problems.invalid_each(path, name, names.label_key(name))
    if "/" in name or name.startswith("hugepages-"):
        return
    if type_ in ("Container", "Pod") and name not in _OF_CONTAINERS:
        problems.invalid(path, name, "must be a standard resource for containers")
    elif name not in _STANDARD:
        problems.invalid(path, name, "must be a standard resource type or fully qualified")


def _check_order(item: Obj, name: str, path: str, problems: Problems) -> None:
    """min <= defaultRequest <= default <= max, and a ratio that the bounds allow."""
    given: dict[str, str] = {key: section(item, key)[name] for key in _MAPS if name in section(item, key)}
    found: dict[str, Fraction] = {}
    for key, text in given.items():
        amount = amount_of(text)
        if amount is None:
            problems.invalid(f"{path}.{key}[{name}]", text, BAD_QUANTITY)
        else:
            found[key] = amount

    def above(low: str, high: str) -> bool:
        return low in found and high in found and found[low] > found[high]

    def complain(at: str, shown: str, what: str) -> None:
        problems.invalid(f"{path}.{at}[{name}]", given[shown], what)

    if above("min", "max"):
        complain("min", "min", f"min value {given['min']} is greater than max value {given['max']}")
    if above("min", "defaultRequest"):
        what = f"min value {given['min']} is greater than default request value {given['defaultRequest']}"
        complain("defaultRequest", "defaultRequest", what)
    if above("defaultRequest", "max"):
        what = f"default request value {given['defaultRequest']} is greater than max value {given['max']}"
        complain("defaultRequest", "defaultRequest", what)
    if above("defaultRequest", "default"):
        what = f"default request value {given['defaultRequest']} is greater than default limit value {given['default']}"
        complain("defaultRequest", "defaultRequest", what)
    if above("min", "default"):
        complain("default", "min", f"min value {given['min']} is greater than default value {given['default']}")
    if above("default", "max"):
        complain("default", "max", f"default value {given['default']} is greater than max value {given['max']}")
    _check_ratio(found, given, f"{path}.maxLimitRequestRatio[{name}]", problems)
    _check_fixed(name, found, given, f"{path}.defaultRequest[{name}]", problems)


def _check_ratio(found: dict[str, Fraction], given: dict[str, str], path: str, problems: Problems) -> None:
    ratio = found.get("maxLimitRequestRatio")
    if ratio is None:
        return
    shown = given["maxLimitRequestRatio"]
    if ratio < 1:
        problems.invalid(path, shown, f"ratio {shown} is less than 1")
    if found.get("min") and "max" in found and ratio > found["max"] / found["min"]:
        most = float(found["max"] / found["min"])
        problems.invalid(path, shown, f"ratio {shown} is greater than max/min = {most:f}")


def _check_fixed(name: str, found: dict[str, Fraction], given: dict[str, str], path: str, problems: Problems) -> None:
    """What a node cannot promise twice has requests equal to limits."""
    if "/" not in name and not name.startswith("hugepages-"):
        return
    if "default" in found and "defaultRequest" in found and found["default"] != found["defaultRequest"]:
        what = (
            f"default value {given['default']} must equal to defaultRequest value {given['defaultRequest']} in {name}"
        )
        problems.invalid(path, given["defaultRequest"], what)
