"""Role and ClusterRole."""

from __future__ import annotations

from typing import ClassVar

from pilothouse.kinds.columns import NAME, Column, field
from pilothouse.kinds.kind import Kind
from pilothouse.kinds.label_selectors import check_label_selector
from pilothouse.kinds.problems import Problems, section
from pilothouse.kinds.view import LabelSelector, Object, View
from pilothouse.machinery import names
from pilothouse.machinery.objects import Obj, Resource

GROUP = "rbac.authorization.k8s.io"


class PolicyRule(View):
    verbs: list[str] = []
    api_groups: list[str] = []
    resources: list[str] = []
    resource_names: list[str] = []
    non_resource_urls: list[str] = []


class AggregationRule(View):
    cluster_role_selectors: list[LabelSelector] = []


class Role(Object):
    resource: ClassVar[Resource] = Resource(GROUP, "v1", "Role", "roles", True)

    rules: list[PolicyRule] = []


class ClusterRole(Object):
    resource: ClassVar[Resource] = Resource(GROUP, "v1", "ClusterRole", "clusterroles", False)

    rules: list[PolicyRule] = []
    aggregation_rule: AggregationRule | None = None


def _check_rules(obj: Obj, namespaced: bool, problems: Problems) -> None:
    for index, rule in enumerate(obj.get("rules") or ()):
        path, urls = f"rules[{index}]", rule.get("nonResourceURLs")
        if not rule.get("verbs"):
            problems.required(f"{path}.verbs", "verbs must contain at least one value")
        if urls:
            if namespaced:
                problems.invalid(f"{path}.nonResourceURLs", urls, "namespaced rules cannot apply to non-resource URLs")
            if rule.get("apiGroups") or rule.get("resources") or rule.get("resourceNames"):
                problems.invalid(
                    f"{path}.nonResourceURLs",
                    urls,
                    "rules cannot apply to both regular resources and non-resource URLs",
                )
            continue
        if not rule.get("apiGroups"):
            problems.required(f"{path}.apiGroups", "resource rules must supply at least one api group")
        if not rule.get("resources"):
            problems.required(f"{path}.resources", "resource rules must supply at least one resource")


def _role_rules(obj: Obj, old: Obj | None, problems: Problems) -> None:
    _check_rules(obj, True, problems)


def _cluster_role_rules(obj: Obj, old: Obj | None, problems: Problems) -> None:
    _check_rules(obj, False, problems)
    if "aggregationRule" not in obj:
        return
    selectors = section(obj, "aggregationRule").get("clusterRoleSelectors") or []
    path = "aggregationRule.clusterRoleSelectors"
    if not selectors:
        problems.required(path, "at least one clusterRoleSelector required if aggregationRule is non-nil")
    for index, selector in enumerate(selectors):
        check_label_selector(selector, f"{path}[{index}]", problems)


_COLUMNS = (NAME, Column("Created At", field("metadata", "creationTimestamp"), "When it was created."))

ROLE = Kind(view=Role, columns=_COLUMNS, name_rule=names.path_segment, rules=_role_rules, create_on_update=True)
CLUSTER_ROLE = Kind(
    view=ClusterRole, columns=_COLUMNS, name_rule=names.path_segment, rules=_cluster_role_rules, create_on_update=True
)
