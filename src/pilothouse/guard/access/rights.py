"""Who may do what, by the roles and bindings there are. Pure.

The rules are the authoriser's (Kubernetes documentation, "Using RBAC Authorization"), and a test holds them equal. What
is not RBAC is named: members of `system:masters` may do everything, and nodes have rights of their own (the node
authoriser).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Final, NamedTuple

from pilothouse.kinds.rbac.role import ClusterRole, PolicyRule, Role
from pilothouse.kinds.rbac.role_binding import ClusterRoleBinding, RoleBinding
from pilothouse.kinds.rbac.role_binding import Subject as BoundSubject
from pilothouse.kinds.view import to_tree
from pilothouse.machinery.selectors import from_label_selector

ALL: Final = "*"
MASTERS: Final = "system:masters"
ACCOUNT: Final = "system:serviceaccount:"


class Subject(NamedTuple):
    """Who is granted something: `kind` is User or Group; a service account is the user it authenticates as."""

    kind: str
    name: str

    def __str__(self) -> str:
        if self.name.startswith(ACCOUNT) and self.kind == "User":
            return "ServiceAccount " + self.name.removeprefix(ACCOUNT).replace(":", "/", 1)
        return f"{self.kind} {self.name}"


def account(namespace: str, name: str) -> Subject:
    """The subject a service account is."""
    return Subject("User", f"{ACCOUNT}{namespace}:{name}")


def account_of(subject: Subject) -> tuple[str, str] | None:
    """Namespace and name of a service account, None for other subjects."""
    if subject.kind != "User" or not subject.name.startswith(ACCOUNT):
        return None
    namespace, _, name = subject.name.removeprefix(ACCOUNT).partition(":")
    return namespace, name


def parse_subject(text: str) -> Subject:
    """`user:NAME`, `group:NAME`, `sa:NAMESPACE/NAME`, or a bare user name. Raises ValueError."""
    kind, colon, name = text.partition(":")
    kind = kind.lower()
    if colon and kind in ("sa", "serviceaccount"):
        namespace, slash, plain = name.replace(":", "/", 1).partition("/")
        if not slash or not plain or not namespace:
            raise ValueError(f"{text!r}: write a service account as sa:NAMESPACE/NAME")
        return account(namespace, plain)
    if colon and kind in ("user", "group") and name:
        return Subject(kind.capitalize(), name)
    return Subject("User", text)


def groups_of(subject: Subject) -> tuple[str, ...]:
    """Groups that a subject is in by what it is; those of a certificate or token are not known here."""
    if subject.kind == "Group":
        return ()
    found = account_of(subject)
    own: tuple[str, ...] = (f"{ACCOUNT.rstrip(':')}s", f"{ACCOUNT.rstrip(':')}s:{found[0]}") if found else ()
    if subject.name.startswith("system:node:"):
        own = ("system:nodes",)
    return (*own, "system:authenticated")


@dataclass(frozen=True, slots=True)
class Asked:
    """A request. `namespace` "" means all of them, or something outside namespaces; `name` "" any object."""

    verb: str
    group: str = ""
    resource: str = ""
    subresource: str = ""
    namespace: str = ""
    name: str = ""
    path: str = ""
    """For requests outside resources; then the rest is empty."""


def allows(rule: PolicyRule, asked: Asked) -> bool:
    """Whether a rule allows a request, wherever the rule counts."""
    if asked.verb not in rule.verbs and ALL not in rule.verbs:
        return False
    if asked.path:
        return any(_url(pattern, asked.path) for pattern in rule.non_resource_urls)
    if asked.group not in rule.api_groups and ALL not in rule.api_groups:
        return False
    wanted = f"{asked.resource}/{asked.subresource}" if asked.subresource else asked.resource
    known = (ALL, wanted, f"*/{asked.subresource}") if asked.subresource else (ALL, wanted)
    if not any(entry in rule.resources for entry in known):
        return False
    return not rule.resource_names or asked.name in rule.resource_names


def _url(pattern: str, path: str) -> bool:
    return pattern in (ALL, path) or (pattern.endswith(ALL) and path.startswith(pattern.rstrip(ALL)))


class Grant(NamedTuple):
    """A binding as it concerns one subject. `namespace` is "" when it counts everywhere."""

    subject: Subject
    namespace: str
    binding: str
    role: str
    rules: tuple[PolicyRule, ...]

    def counts(self, asked: Asked) -> bool:
        """Whether the binding counts where the request goes."""
        return not self.namespace or (self.namespace == asked.namespace and not asked.path)

    def __str__(self) -> str:
        return f"{self.binding} to {self.role}"


@dataclass
class Rights:
    """All grants, by subject."""

    grants: dict[Subject, list[Grant]] = field(default_factory=dict)

    def of(self, subject: Subject, groups: Iterable[str] = ()) -> Iterator[Grant]:
        """What is bound to a subject and to groups it is in."""
        yield from self.grants.get(subject, ())
        for group in groups:
            yield from self.grants.get(Subject("Group", group), ())

    def allowing(self, subject: Subject, groups: Sequence[str], asked: Asked) -> Grant | None:
        """The grant by which a subject may do something, None when it may not by RBAC."""
        for grant in self.of(subject, groups):
            if grant.counts(asked) and any(allows(rule, asked) for rule in grant.rules):
                return grant
        return None

    def who_can(self, asked: Asked) -> list[Grant]:
        """The grants by which somebody may do something, one a subject and binding."""
        found = (grant for grants in self.grants.values() for grant in grants if grant.counts(asked))
        return [grant for grant in found if any(allows(rule, asked) for rule in grant.rules)]


def rights_of(
    cluster_roles: Sequence[ClusterRole],
    roles: Sequence[Role],
    cluster_bindings: Sequence[ClusterRoleBinding],
    bindings: Sequence[RoleBinding],
) -> Rights:
    """The rights that these objects give."""
    by_name = {role.name: role for role in cluster_roles}
    rules = {("", role.name): _gather(role, by_name) for role in cluster_roles}
    rules |= {(role.namespace, role.name): tuple(role.rules) for role in roles}
    rights = Rights()
    every: list[ClusterRoleBinding | RoleBinding] = [*cluster_bindings, *bindings]
    for binding in every:
        namespace = binding.namespace if isinstance(binding, RoleBinding) else ""
        ref = binding.role_ref
        place = (namespace if ref.kind == "Role" else "", ref.name)
        named = f"RoleBinding {namespace}/{binding.name}" if namespace else f"ClusterRoleBinding {binding.name}"
        role = f"Role {namespace}/{ref.name}" if place[0] else f"ClusterRole {ref.name}"
        for subject in dict.fromkeys(_subject(subject, namespace) for subject in binding.subjects):
            grant = Grant(subject, namespace, named, role, rules.get(place, ()))
            rights.grants.setdefault(subject, []).append(grant)
    return rights


def _subject(subject: BoundSubject, namespace: str) -> Subject:
    if subject.kind == "ServiceAccount":
        return account(subject.namespace or namespace, subject.name)
    return Subject(subject.kind, subject.name)


def _gather(
    role: ClusterRole, roles: dict[str, ClusterRole], seen: frozenset[str] = frozenset()
) -> tuple[PolicyRule, ...]:
    """A role's rules and those it gathers; roles that gather one another do not go round for ever."""
    rules = list(role.rules)
    if role.aggregation_rule is not None:
        seen |= {role.name}
        for view in role.aggregation_rule.cluster_role_selectors:
            selector = from_label_selector(to_tree(view))
            for other in roles.values():
                if other.name not in seen and selector.matches(other.metadata.labels):
                    rules += _gather(other, roles, seen)
    return tuple(rules)
