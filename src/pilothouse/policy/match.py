"""Which objects a policy's matchConstraints mean. Pure.

Source: Kubernetes documentation, "Matching requests: matchConstraints"; operations count as CREATE, since an object
that is read from a file or from a cluster is judged as if it were about to be written.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final, NamedTuple

from pilothouse.machinery.objects import Obj
from pilothouse.machinery.selectors import from_label_selector

_IRREGULAR: Final[Mapping[str, str]] = {"Endpoints": "endpoints", "NodeMetrics": "nodes", "PodMetrics": "pods"}


class Subject(NamedTuple):
    """An object to be judged, and the labels of its namespace (None when that is not known)."""

    tree: Obj
    namespace_labels: Mapping[str, str] | None = None


def matches(constraints: Obj, subject: Subject) -> bool:
    """Whether the constraints mean this object. Raises ValueError for a selector that is none."""
    tree = subject.tree
    if not any(_rule_matches(rule, tree) for rule in constraints.get("resourceRules") or ()):
        return False
    if any(_rule_matches(rule, tree) for rule in constraints.get("excludeResourceRules") or ()):
        return False
    labels = (tree.get("metadata") or {}).get("labels") or {}
    if constraints.get("objectSelector") and not from_label_selector(constraints["objectSelector"]).matches(labels):
        return False
    selector = constraints.get("namespaceSelector")
    if not selector or not (tree.get("metadata") or {}).get("namespace"):
        return True
    return from_label_selector(selector).matches(subject.namespace_labels)


def only_by_kind(constraints: Obj) -> bool:
    """Whether nothing but apiVersion and kind of an object decides."""
    return not any(constraints.get(f) for f in ("excludeResourceRules", "objectSelector", "namespaceSelector")) and all(
        rule.get("scope", "*") == "*" and not rule.get("resourceNames")
        for rule in constraints.get("resourceRules") or ()
    )


def plural(kind: str) -> str:
    """The resource name of a kind, by the rule every built-in kind follows."""
    if kind in _IRREGULAR:
        return _IRREGULAR[kind]
    name = kind.lower()
    if name.endswith(("s", "x", "ch", "sh")):
        return name + "es"
    if name.endswith("y") and name[-2:-1] not in "aeiou":
        return name[:-1] + "ies"
    return name + "s"


def _rule_matches(rule: Obj, tree: Obj) -> bool:
    group, _, version = str(tree.get("apiVersion", "")).rpartition("/")
    metadata = tree.get("metadata") or {}
    scope = rule.get("scope", "*")
    return (
        _listed(rule.get("apiGroups"), group)
        and _listed(rule.get("apiVersions"), version)
        and _listed(rule.get("operations"), "CREATE")
        and (_listed(rule.get("resources"), plural(str(tree.get("kind", ""))), "*/*"))
        and (not rule.get("resourceNames") or metadata.get("name") in rule["resourceNames"])
        and (scope == "*" or (scope == "Namespaced") == bool(metadata.get("namespace")))
    )


def _listed(values: list[str] | None, value: str, *also: str) -> bool:
    found = values or ()
    return value in found or "*" in found or any(entry in found for entry in also)
