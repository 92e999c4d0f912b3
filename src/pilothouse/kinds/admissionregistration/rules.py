"""What policies and webhooks share: rules for the requests they mean, selectors and conditions.

Source of messages: Kubernetes' `pkg/apis/admissionregistration/validation`. Whether expressions compile is checked at
admission: this room knows no expressions.
"""

from __future__ import annotations

from collections.abc import Sequence

from pilothouse.kinds.label_selectors import check_label_selector
from pilothouse.kinds.problems import Problems
from pilothouse.machinery import names
from pilothouse.machinery.objects import Obj

FAILURE_POLICIES = ("Fail", "Ignore")
MATCH_POLICIES = ("Equivalent", "Exact")
_OPERATIONS = ("*", "CONNECT", "CREATE", "DELETE", "UPDATE")
_SCOPES = ("*", "Cluster", "Namespaced")
_MOST_CONDITIONS = 64


def default_rules(rules: Sequence[Obj] | None) -> None:
    """Every scope, where none is given."""
    for rule in rules or ():
        rule.setdefault("scope", "*")


def default_selectors(tree: Obj) -> None:
    """Equivalent versions, all namespaces, all objects."""
    tree.setdefault("matchPolicy", "Equivalent")
    tree.setdefault("namespaceSelector", {})
    tree.setdefault("objectSelector", {})


def default_match_resources(resources: Obj | None) -> None:
    """The defaults of `matchConstraints` and `matchResources`."""
    if resources is not None:
        default_selectors(resources)
        default_rules(resources.get("resourceRules"))
        default_rules(resources.get("excludeResourceRules"))


def check_match_resources(resources: Obj, path: str, problems: Problems) -> None:
    """`matchConstraints` and `matchResources`."""
    problems.one_of(f"{path}.matchPolicy", resources.get("matchPolicy"), MATCH_POLICIES)
    check_selectors(resources, path, problems)
    for field in ("resourceRules", "excludeResourceRules"):
        for index, rule in enumerate(resources.get(field) or ()):
            _check_names(rule.get("resourceNames") or (), f"{path}.{field}[{index}].resourceNames", problems)
            check_rule(rule, f"{path}.{field}[{index}]", problems)


def _check_names(given: Sequence[str], path: str, problems: Problems) -> None:
    seen: set[str] = set()
    for index, name in enumerate(given):
        problems.invalid_each(f"{path}[{index}]", name, names.path_segment(name))
        if name in seen:
            problems.duplicate(f"{path}[{index}]", name)
        seen.add(name)


def check_selectors(tree: Obj, path: str, problems: Problems) -> None:
    """The namespace and the object selector."""
    for field in ("namespaceSelector", "objectSelector"):
        if tree.get(field):
            check_label_selector(tree[field], f"{path}.{field}", problems)


def check_rule(rule: Obj, path: str, problems: Problems) -> None:
    """A `RuleWithOperations`."""
    operations = rule.get("operations") or []
    _check_list(operations, f"{path}.operations", "operations", problems)
    for index, operation in enumerate(operations):
        if operation not in _OPERATIONS:
            problems.unsupported(f"{path}.operations[{index}]", operation, _OPERATIONS)
    _check_list(rule.get("apiGroups") or [], f"{path}.apiGroups", "API groups", problems)
    versions = rule.get("apiVersions") or []
    _check_list(versions, f"{path}.apiVersions", "API versions", problems)
    for index, version in enumerate(versions):
        if not version:
            problems.required(f"{path}.apiVersions[{index}]")
    _check_resources(rule.get("resources") or [], f"{path}.resources", problems)
    if rule.get("scope") is not None and rule["scope"] not in _SCOPES:
        problems.unsupported(f"{path}.scope", rule["scope"], _SCOPES)


def _check_list(values: Sequence[str], path: str, what: str, problems: Problems) -> None:
    if not values:
        problems.required(path)
    if len(values) > 1 and "*" in values:
        problems.invalid(path, values, f"if '*' is present, must not specify other {what}")


def _check_resources(resources: Sequence[str], path: str, problems: Problems) -> None:
    if not resources:
        problems.required(path)
    every_part_of: set[str] = set()
    part_of_every: set[str] = set()
    for index, entry in enumerate(resources):
        at = f"{path}[{index}]"
        name, slash, part = entry.partition("/")
        if not entry:
            problems.required(at)
        if not slash:
            continue
        if name in every_part_of:
            problems.invalid(at, entry, f"if '{name}/*' is present, must not specify {entry}")
        if part in part_of_every:
            problems.invalid(at, entry, f"if '*/{part}' is present, must not specify {entry}")
        if part == "*":
            every_part_of.add(name)
        if name == "*":
            part_of_every.add(part)
    if len(resources) > 1 and "*/*" in resources:
        problems.invalid(path, resources, "if '*/*' is present, must not specify other resources")
    if "*" in resources and any("/" not in entry and entry != "*" for entry in resources):
        problems.invalid(path, resources, "if '*' is present, must not specify other resources without subresources")


def check_conditions(conditions: Sequence[Obj], path: str, problems: Problems) -> None:
    """Match conditions: named, and not empty."""
    if len(conditions) > _MOST_CONDITIONS:
        problems.too_many(path, len(conditions), _MOST_CONDITIONS)
    seen: set[str] = set()
    for index, condition in enumerate(conditions):
        at, name = f"{path}[{index}]", condition.get("name") or ""
        if not (condition.get("expression") or "").strip():
            problems.required(f"{at}.expression")
        if not name:
            problems.required(f"{at}.name")
            continue
        problems.invalid_each(f"{at}.name", name, names.label_key(name))
        if name in seen:
            problems.duplicate(f"{at}.name", name)
        seen.add(name)
