"""Role and ClusterRole."""

from __future__ import annotations

from typing import ClassVar

from pilothouse.kinds.view import LabelSelector, Object, View
from pilothouse.machinery.objects import Resource

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
