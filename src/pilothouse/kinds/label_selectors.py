"""Rules for LabelSelector objects. Source: `ValidateLabelSelector` of apimachinery."""

from __future__ import annotations

from pilothouse.kinds.metadata import check_labels
from pilothouse.kinds.problems import Problems
from pilothouse.machinery import names
from pilothouse.machinery.objects import Obj

_WITH_VALUES = ("In", "NotIn")
_WITHOUT_VALUES = ("Exists", "DoesNotExist")


def check_label_selector(selector: Obj, path: str, problems: Problems) -> None:
    """Labels and expressions of a selector, which may be empty."""
    check_labels(selector.get("matchLabels"), f"{path}.matchLabels", problems)
    for index, rule in enumerate(selector.get("matchExpressions") or ()):
        at = f"{path}.matchExpressions[{index}]"
        key, operator, values = rule.get("key") or "", rule.get("operator"), rule.get("values") or []
        if operator in _WITH_VALUES:
            if not values:
                problems.required(f"{at}.values", "must be specified when `operator` is 'In' or 'NotIn'")
        elif operator in _WITHOUT_VALUES:
            if values:
                problems.forbidden(f"{at}.values", "may not be specified when `operator` is 'Exists' or 'DoesNotExist'")
        else:
            problems.invalid(f"{at}.operator", operator or "", "not a valid selector operator")
        problems.invalid_each(f"{at}.key", key, names.label_key(key))
        for position, value in enumerate(values):
            problems.invalid_each(f"{at}.values[{position}]", value, names.label_value(value))
