"""The kinds that checks read, of those the API serves. Pure."""

from __future__ import annotations

from functools import cache

from pilothouse.guard.live.dependencies import ALL_KINDS
from pilothouse.guard.shipped import shipped_policies
from pilothouse.kinds.catalogue import KINDS
from pilothouse.machinery.objects import Resource

_NOT_STORED = frozenset({"PodTemplate"})


@cache
def checked_kinds() -> tuple[Resource, ...]:
    """In the catalogue's order, each kind in one version."""
    matched = {
        (group, plural)
        for policy in shipped_policies()
        for rule in policy.constraints.get("resourceRules") or ()
        for group in rule.get("apiGroups") or ()
        for plural in rule.get("resources") or ()
    }
    found: dict[tuple[str, str], Resource] = {}
    for kind in KINDS:
        resource = kind.resource
        wanted = resource.kind in ALL_KINDS or (resource.group, resource.plural) in matched
        if wanted and {"list", "watch"} <= kind.verbs and resource.kind not in _NOT_STORED:
            found.setdefault((resource.group, resource.plural), resource)
    return tuple(found.values())
