"""The audit policy: which requests are recorded, and how much of them. Pure.

Source: `audit.k8s.io/v1` Policy, and Kubernetes documentation, "Auditing". The first rule that matches decides; a
request that none matches is not recorded.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from enum import IntEnum
from functools import lru_cache
from pathlib import Path
from typing import Any, Final, NamedTuple

import msgspec

from pilothouse.apiserver.route import Route
from pilothouse.client.wire import User
from pilothouse.kinds.view import api_name


class Level(IntEnum):
    """How much is recorded."""

    NONE = 0
    METADATA = 1
    REQUEST = 2
    REQUEST_RESPONSE = 3


_LEVELS: Final = {
    "None": Level.NONE,
    "Metadata": Level.METADATA,
    "Request": Level.REQUEST,
    "RequestResponse": Level.REQUEST_RESPONSE,
}
RECEIVED: Final = "RequestReceived"
STARTED: Final = "ResponseStarted"
COMPLETE: Final = "ResponseComplete"
PANIC: Final = "Panic"
STAGES: Final = (RECEIVED, STARTED, COMPLETE, PANIC)
_SECRET: Final = frozenset(
    {
        ("", "secrets"),
        ("", "serviceaccounts/token"),
        ("authentication.k8s.io", "tokenreviews"),
        ("certificates.k8s.io", "certificatesigningrequests"),
    }
)
"""Bodies that hold secrets are never recorded, whatever the policy says."""


class InvalidPolicy(ValueError):
    """The policy cannot be used; the message says where and why."""


class _GroupResources(msgspec.Struct, rename=api_name, forbid_unknown_fields=True):
    group: str = ""
    resources: list[str] = []
    resource_names: list[str] = []


class _Rule(msgspec.Struct, rename=api_name, forbid_unknown_fields=True):
    level: str
    users: list[str] = []
    user_groups: list[str] = []
    verbs: list[str] = []
    resources: list[_GroupResources] = []
    namespaces: list[str] = []
    non_resource_urls: list[str] = msgspec.field(default_factory=list, name="nonResourceURLs")
    omit_stages: list[str] = []
    omit_managed_fields: bool | None = None


class _Policy(msgspec.Struct, rename=api_name, forbid_unknown_fields=True):
    api_version: str
    kind: str
    rules: list[_Rule]
    metadata: dict[str, Any] = {}
    omit_stages: list[str] = []
    omit_managed_fields: bool = False


class Verdict(NamedTuple):
    """What is recorded of a request, in which stages."""

    level: Level
    omitted: frozenset[str] = frozenset()
    omit_managed_fields: bool = False


NOTHING: Final = Verdict(Level.NONE)


class _Matcher:
    """One rule, its lists as sets."""

    def __init__(self, rule: _Rule, omitted: Iterable[str], omit_managed_fields: bool) -> None:
        managed = omit_managed_fields if rule.omit_managed_fields is None else rule.omit_managed_fields
        self.verdict = Verdict(_LEVELS[rule.level], frozenset({*rule.omit_stages, *omitted}), managed)
        self._users, self._groups = frozenset(rule.users), frozenset(rule.user_groups)
        self._verbs, self._namespaces = frozenset(rule.verbs), frozenset(rule.namespaces)
        self._resources = [
            (entry.group, frozenset(entry.resources), frozenset(entry.resource_names)) for entry in rule.resources
        ]
        self._urls = tuple(rule.non_resource_urls)

    def concerns(self, name: str, groups: tuple[str, ...]) -> bool:
        """Whether the rule is about that user."""
        if self._users and name not in self._users:
            return False
        return not self._groups or not self._groups.isdisjoint(groups)

    def matches(self, route: Route) -> bool:
        """Whether the rule is about that request, when it is about its user."""
        if self._verbs and route.verb not in self._verbs:
            return False
        if self._namespaces or self._resources:
            return route.is_resource and self._matches_resource(route)
        if self._urls:
            return not route.is_resource and any(_matches_url(url, route.path) for url in self._urls)
        return True

    def _matches_resource(self, route: Route) -> bool:
        if self._namespaces and route.namespace not in self._namespaces:
            return False
        if not self._resources:
            return True
        whole = f"{route.resource}/{route.subresource}" if route.subresource else route.resource
        for group, resources, names in self._resources:
            if group != route.group and group != "*":
                continue
            if names and route.name not in names:
                continue
            if not resources or whole in resources or "*" in resources:
                return True
            if route.subresource and not resources.isdisjoint({f"*/{route.subresource}", f"{route.resource}/*"}):
                return True
        return False


def _matches_url(pattern: str, path: str) -> bool:
    return pattern == "*" or path == pattern or (pattern.endswith("*") and path.startswith(pattern[:-1]))


class Policy:
    """A compiled policy. Raises InvalidPolicy."""

    def __init__(self, tree: Any) -> None:
        try:
            found = msgspec.convert(tree, _Policy)
        except msgspec.ValidationError as error:
            raise InvalidPolicy(str(error)) from error
        _check(found)
        rules = [_Matcher(rule, found.omit_stages, found.omit_managed_fields) for rule in found.rules]

        @lru_cache(maxsize=512)
        def rules_about(name: str, groups: tuple[str, ...]) -> tuple[_Matcher, ...]:
            return tuple(rule for rule in rules if rule.concerns(name, groups))

        self._rules_about = rules_about

    def verdict(self, user: User, route: Route) -> Verdict:
        """What is recorded of a request."""
        for rule in self._rules_about(user.name, user.groups):
            if rule.matches(route):
                found = rule.verdict
                return (
                    found._replace(level=Level.METADATA) if found.level > Level.METADATA and _secret(route) else found
                )
        return NOTHING


def _secret(route: Route) -> bool:
    whole = f"{route.resource}/{route.subresource}" if route.subresource else route.resource
    return (route.group, whole) in _SECRET


def _check(policy: _Policy) -> None:
    if (policy.api_version, policy.kind) != ("audit.k8s.io/v1", "Policy"):
        raise InvalidPolicy(f"is {policy.api_version} {policy.kind}, not audit.k8s.io/v1 Policy")
    if not policy.rules:
        raise InvalidPolicy("rules: at least one is needed, else nothing would be recorded")
    for stage in policy.omit_stages:
        _check_stage(stage, "omitStages")
    for index, rule in enumerate(policy.rules):
        path = f"rules[{index}]"
        if rule.level not in _LEVELS:
            raise InvalidPolicy(f"{path}.level: {rule.level!r} is none of {', '.join(_LEVELS)}")
        if rule.non_resource_urls and (rule.resources or rule.namespaces):
            raise InvalidPolicy(f"{path}: rules cannot apply to both regular resources and non-resource URLs")
        for url in rule.non_resource_urls:
            if url != "*" and not url.startswith("/"):
                raise InvalidPolicy(f"{path}.nonResourceURLs: {url!r} must begin with a '/'")
            if "*" in url[:-1]:
                raise InvalidPolicy(f"{path}.nonResourceURLs: {url!r} may have a '*' at its end only")
        for stage in rule.omit_stages:
            _check_stage(stage, f"{path}.omitStages")


def _check_stage(stage: str, path: str) -> None:
    if stage not in STAGES:
        raise InvalidPolicy(f"{path}: {stage!r} is none of {', '.join(STAGES)}")


def read_policy(file: Path) -> Policy:
    """The policy of a YAML file. Raises InvalidPolicy, OSError."""
    import yaml

    from pilothouse.machinery.yaml_bounds import check_bounds

    text = file.read_bytes()
    try:
        check_bounds(text)
        return Policy(yaml.safe_load(text))
    except yaml.YAMLError as error:
        raise InvalidPolicy(" ".join(str(error).split())) from error


def default_policy(components: Sequence[str]) -> Policy:
    """Everything people and programs do at the level Metadata; not what the engine's own parts read and report all the
    time, nor probes and discovery. `components` are the names of those parts, at least one: a rule without users would
    be about everybody."""
    assert components
    reads, changes = ["get", "list", "watch"], ["patch", "update"]
    every_status = {"group": "*", "resources": ["*/status"]}
    return Policy(
        {
            "apiVersion": "audit.k8s.io/v1",
            "kind": "Policy",
            "omitStages": ["RequestReceived"],
            "rules": [
                {"level": "None", "users": list(components), "verbs": reads},
                {"level": "None", "userGroups": ["system:nodes"], "verbs": reads},
                {"level": "None", "users": list(components), "verbs": changes, "resources": [every_status]},
                {"level": "None", "userGroups": ["system:nodes"], "verbs": changes, "resources": [every_status]},
                {
                    "level": "None",
                    "resources": [
                        {"group": "", "resources": ["events"]},
                        {"group": "events.k8s.io", "resources": ["events"]},
                        {"group": "coordination.k8s.io", "resources": ["leases"]},
                    ],
                },
                {
                    "level": "None",
                    "verbs": ["get", "head"],
                    "nonResourceURLs": [
                        "/",
                        "/api*",
                        "/healthz*",
                        "/livez*",
                        "/metrics",
                        "/openapi*",
                        "/readyz*",
                        "/version*",
                    ],
                },
                {"level": "Metadata"},
            ],
        }
    )
