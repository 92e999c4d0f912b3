"""Which FlowSchema a request belongs to, and which flow of it. Pure.

Source: `flowcontrol.apiserver.k8s.io/v1` FlowSchema, and Kubernetes documentation, "API Priority and Fairness": the
matching schema with the lowest precedence decides, of equals the one whose name comes first. What cannot be read
matches nothing.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import NamedTuple

from pilothouse.apiserver.authentication.service_accounts import PREFIX
from pilothouse.apiserver.route import Route
from pilothouse.client.wire import User
from pilothouse.machinery.objects import Obj

ALL = "*"
CATCH_ALL = "catch-all"
EXEMPT = "exempt"
_DEFAULT_PRECEDENCE = 1000
_AUTHENTICATED = ("system:authenticated", "system:unauthenticated")


class ResourceRule(NamedTuple):
    """A ResourcePolicyRule, its lists as sets."""

    verbs: frozenset[str]
    groups: frozenset[str]
    resources: frozenset[str]
    namespaces: frozenset[str]
    cluster_scope: bool

    def matches(self, route: Route) -> bool:
        if not route.is_resource or not _has(self.verbs, route.verb) or not _has(self.groups, route.group):
            return False
        whole = f"{route.resource}/{route.subresource}" if route.subresource else route.resource
        if not _has(self.resources, whole):
            return False
        return _has(self.namespaces, route.namespace) if route.namespace else self.cluster_scope


class PathRule(NamedTuple):
    """A NonResourcePolicyRule."""

    verbs: frozenset[str]
    urls: tuple[str, ...]

    def matches(self, route: Route) -> bool:
        if route.is_resource or not _has(self.verbs, route.verb):
            return False
        return any(
            url in (ALL, route.path) or (url.endswith("/*") and route.path.startswith(url[:-1])) for url in self.urls
        )


class Rule(NamedTuple):
    """Subjects, and what they ask."""

    users: frozenset[str]
    groups: frozenset[str]
    accounts_of: frozenset[str]
    """Namespaces all of whose service accounts are meant."""
    asked: tuple[ResourceRule | PathRule, ...]

    def matches(self, user: User, route: Route) -> bool:
        return self._is_about(user) and any(rule.matches(route) for rule in self.asked)

    def _is_about(self, user: User) -> bool:
        if _has(self.users, user.name) or ALL in self.groups or not self.groups.isdisjoint(user.groups):
            return True
        return bool(self.accounts_of) and user.name.startswith(PREFIX) and user.name.split(":")[2] in self.accounts_of


class Schema(NamedTuple):
    """A FlowSchema."""

    name: str
    uid: str
    level: str
    precedence: int
    distinguisher: str
    rules: tuple[Rule, ...]

    def flow(self, user: User, route: Route) -> str:
        """What tells the flows of this schema from one another."""
        if self.distinguisher == "ByUser":
            return user.name
        return route.namespace if self.distinguisher == "ByNamespace" else ""


def schema_for(schemas: Sequence[Schema], user: User, route: Route) -> Schema:
    """The first that matches, of `schemas` in order (see `in_order`)."""
    for schema in schemas:
        if any(rule.matches(user, route) for rule in schema.rules):
            return schema
    return _LAST


def in_order(schemas: Iterable[Schema], levels: frozenset[str]) -> tuple[Schema, ...]:
    """Those whose level exists, by precedence; the mandatory ones are there even before they are stored."""
    found = {schema.name: schema for schema in (_FIRST, _LAST)}
    found |= {schema.name: schema for schema in schemas if schema.level in levels}
    return tuple(sorted(found.values(), key=lambda schema: (schema.precedence, schema.name)))


def read_schema(tree: Obj) -> Schema:
    """Raises AttributeError, KeyError, TypeError or ValueError for what is no FlowSchema."""
    spec, meta = tree["spec"], tree["metadata"]
    return Schema(
        meta["name"],
        meta.get("uid") or "",
        spec["priorityLevelConfiguration"]["name"],
        int(spec.get("matchingPrecedence") or _DEFAULT_PRECEDENCE),
        (spec.get("distinguisherMethod") or {}).get("type") or "",
        tuple(_rule(rule) for rule in spec.get("rules") or ()),
    )


def _rule(rule: Obj) -> Rule:
    users, groups, accounts_of = set(), set(), set()
    for subject in rule.get("subjects") or ():
        if subject["kind"] == "User":
            users.add(subject["user"]["name"])
        elif subject["kind"] == "Group":
            groups.add(subject["group"]["name"])
        elif subject["kind"] == "ServiceAccount":
            account = subject["serviceAccount"]
            if account["name"] == ALL:
                accounts_of.add(account["namespace"])
            else:
                users.add(f"{PREFIX}{account['namespace']}:{account['name']}")
    resources = [
        ResourceRule(
            frozenset(entry.get("verbs") or ()),
            frozenset(entry.get("apiGroups") or ()),
            frozenset(entry.get("resources") or ()),
            frozenset(entry.get("namespaces") or ()),
            bool(entry.get("clusterScope")),
        )
        for entry in rule.get("resourceRules") or ()
    ]
    paths = [
        PathRule(frozenset(entry.get("verbs") or ()), tuple(entry.get("nonResourceURLs") or ()))
        for entry in rule.get("nonResourceRules") or ()
    ]
    return Rule(frozenset(users), frozenset(groups), frozenset(accounts_of), (*resources, *paths))


def _has(given: frozenset[str], wanted: str) -> bool:
    return ALL in given or wanted in given


_EVERY = frozenset({ALL})
_EVERYTHING = (ResourceRule(_EVERY, _EVERY, _EVERY, _EVERY, True), PathRule(_EVERY, (ALL,)))
_FIRST = Schema(
    EXEMPT, "", EXEMPT, 1, "", (Rule(frozenset(), frozenset({"system:masters"}), frozenset(), _EVERYTHING),)
)
_LAST = Schema(
    CATCH_ALL,
    "",
    CATCH_ALL,
    10000,
    "ByUser",
    (Rule(frozenset(), frozenset(_AUTHENTICATED), frozenset(), _EVERYTHING),),
)
