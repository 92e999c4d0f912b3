"""Policy rules: what one of them allows, and whether some of them cover others. Pure.

Source: rbac.authorization.k8s.io/v1 PolicyRule and Kubernetes documentation, "Using RBAC Authorization".
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import product
from typing import NamedTuple

from pilothouse.apiserver.chain import Attributes
from pilothouse.kinds.rbac.role import PolicyRule
from pilothouse.machinery.objects import Obj

ALL = "*"


class Rule(NamedTuple):
    """A PolicyRule, its lists as sets."""

    verbs: frozenset[str]
    groups: frozenset[str] = frozenset()
    resources: frozenset[str] = frozenset()
    names: frozenset[str] = frozenset()
    urls: frozenset[str] = frozenset()

    def allows(self, asked: Attributes) -> bool:
        """Whether the rule allows the request, wherever the rule counts."""
        if asked.verb not in self.verbs and ALL not in self.verbs:
            return False
        if not asked.is_resource:
            return any(_url_matches(url, asked.path) for url in self.urls)
        if asked.group not in self.groups and ALL not in self.groups:
            return False
        if not _resource_matches(self.resources, asked.resource, asked.subresource):
            return False
        return not self.names or asked.name in self.names

    def tree(self) -> Obj:
        """As JSON, as a rules review shows it."""
        fields = {
            "verbs": self.verbs,
            "apiGroups": self.groups,
            "resources": self.resources,
            "resourceNames": self.names,
            "nonResourceURLs": self.urls,
        }
        return {name: sorted(values) for name, values in fields.items() if values}


def of_view(rule: PolicyRule) -> Rule:
    return Rule(
        frozenset(rule.verbs),
        frozenset(rule.api_groups),
        frozenset(rule.resources),
        frozenset(rule.resource_names),
        frozenset(rule.non_resource_urls),
    )


def of_tree(rule: Obj) -> Rule:
    names = ("verbs", "apiGroups", "resources", "resourceNames", "nonResourceURLs")
    return Rule(*(frozenset(rule.get(name) or ()) for name in names))


def uncovered(owned: Sequence[Rule], wanted: Iterable[Rule]) -> list[Rule]:
    """The parts of `wanted`, as rules of one verb on one thing each, that `owned` do not allow."""
    return [part for rule in wanted for part in _parts(rule) if not any(_covers(own, part) for own in owned)]


def _parts(rule: Rule) -> list[Rule]:
    parts = [
        Rule(frozenset({verb}), frozenset({group}), frozenset({resource}), frozenset({name} if name else ()))
        for verb, group, resource, name in product(
            sorted(rule.verbs), sorted(rule.groups), sorted(rule.resources), sorted(rule.names) or [""]
        )
    ]
    return parts + [Rule(frozenset({verb}), urls=frozenset({url})) for verb in rule.verbs for url in rule.urls]


def _covers(own: Rule, part: Rule) -> bool:
    if ALL not in own.verbs and not part.verbs <= own.verbs:
        return False
    if part.urls:
        (url,) = part.urls
        return any(_url_matches(pattern, url) for pattern in own.urls)
    if ALL not in own.groups and not part.groups <= own.groups:
        return False
    (wanted,) = part.resources
    resource, _, subresource = wanted.partition("/")
    if wanted not in own.resources and not _resource_matches(own.resources, resource, subresource):
        return False
    return not own.names or (bool(part.names) and part.names <= own.names)


def _resource_matches(rules: frozenset[str], resource: str, subresource: str) -> bool:
    if ALL in rules:
        return True
    if not subresource:
        return resource in rules
    return f"{resource}/{subresource}" in rules or f"*/{subresource}" in rules


def _url_matches(pattern: str, path: str) -> bool:
    if pattern in (ALL, path):
        return True
    return pattern.endswith(ALL) and path.startswith(pattern.rstrip(ALL))
