"""What a request is about, as rules and selectors of policies and webhooks see it.

Source: `k8s.io/apiserver/pkg/admission/plugin/webhook/predicates` (rules, namespace, object).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

from pilothouse.machinery.objects import Obj, Resource
from pilothouse.machinery.selectors import from_label_selector


class Target(NamedTuple):
    """One write, in one version of its kind. `object` is None for a delete, `old_object` for a create and a connect;
    `namespace_labels` are those of the namespace it is in."""

    operation: str
    resource: Resource
    subresource: str
    namespace: str
    name: str
    object: Obj | None
    old_object: Obj | None
    namespace_labels: Mapping[str, str]

    @property
    def is_namespace(self) -> bool:
        return self.resource.plural == "namespaces" and not self.resource.group


def any_rule(rules: Sequence[Obj], target: Target) -> bool:
    """Whether one of the rules (`RuleWithOperations`, perhaps with resource names) means the target."""
    return any(rule_matches(rule, target) for rule in rules)


def rule_matches(rule: Obj, target: Target) -> bool:
    """Whether a rule means the target."""
    resource = target.resource
    return (
        _listed(rule.get("operations"), target.operation)
        and _listed(rule.get("apiGroups"), resource.group)
        and _listed(rule.get("apiVersions"), resource.version)
        and any(_resource(entry, target) for entry in rule.get("resources") or ())
        and _scope(rule.get("scope") or "*", target)
        and (not rule.get("resourceNames") or target.name in rule["resourceNames"])
    )


def _listed(values: Sequence[str] | None, value: str) -> bool:
    return values is not None and ("*" in values or value in values)


def _resource(entry: str, target: Target) -> bool:
    """`pods`, `pods/exec`, `pods/*`, `*` (no subresources), `*/scale`, `*/*`."""
    name, _, subresource = entry.partition("/")
    if name not in ("*", target.resource.plural):
        return False
    return subresource in ("*", target.subresource)


def _scope(scope: str, target: Target) -> bool:
    if scope == "*":
        return True
    return (scope == "Namespaced") == (bool(target.namespace) and not target.is_namespace)


def selected(constraints: Obj, target: Target) -> bool:
    """Whether the namespace and object selectors of a policy, a binding or a webhook let the target through.

    Raises ValueError for a selector that is none.
    """
    return _namespace(constraints.get("namespaceSelector"), target) and _object(
        constraints.get("objectSelector"), target
    )


def _namespace(selector: Obj | None, target: Target) -> bool:
    if not selector:
        return True
    wanted = from_label_selector(selector)
    if wanted.empty:
        return True
    if target.is_namespace:
        return wanted.matches(_labels(target.object if target.object is not None else target.old_object))
    return not target.namespace or wanted.matches(target.namespace_labels)


def _object(selector: Obj | None, target: Target) -> bool:
    if not selector:
        return True
    wanted = from_label_selector(selector)
    if wanted.empty:
        return True
    found = [tree for tree in (target.object, target.old_object) if tree is not None and "metadata" in tree]
    return any(wanted.matches(_labels(tree)) for tree in found)


def _labels(tree: Obj | None) -> Mapping[str, str]:
    return ((tree or {}).get("metadata") or {}).get("labels") or {}
