"""Roles and bindings indexed by subject, kept fresh from the store.

A ClusterRole with an aggregation rule has, besides its own rules, those of the ClusterRoles its selectors match; they
are gathered when the role is used.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import msgspec

from pilothouse.apiserver.authentication.service_accounts import PREFIX
from pilothouse.apiserver.authorization.follow import Follower
from pilothouse.apiserver.authorization.rules import Rule, of_view
from pilothouse.client.wire import User
from pilothouse.kinds.rbac.role import ClusterRole, Role
from pilothouse.kinds.rbac.role_binding import ClusterRoleBinding, RoleBinding, RoleRef, Subject
from pilothouse.machinery.selectors import from_label_selector
from pilothouse.store.store import Store

_USER, _GROUP = "User", "Group"


class Grant(NamedTuple):
    """One binding as it concerns one subject. `namespace` is "" for a ClusterRoleBinding."""

    namespace: str
    role: tuple[str, str]
    """Namespace ("" for a ClusterRole) and name."""
    binding: str


class RbacIndex:
    """What each subject is granted. Call `catch_up` before reading."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._seen = -1
        self.version = 0
        """Rises with every change."""
        self._roles: dict[tuple[str, str], tuple[Rule, ...]] = {}
        self._cluster_roles: dict[str, ClusterRole] = {}
        self._bound: dict[str, tuple[list[tuple[str, str]], Grant]] = {}
        self._by_subject: dict[tuple[str, str], dict[str, Grant]] = {}
        self._cluster_role_decoder = msgspec.json.Decoder(ClusterRole)
        self._role_decoder = msgspec.json.Decoder(Role)
        self._binding_decoder = msgspec.json.Decoder(RoleBinding)
        self._gathered: dict[str, tuple[Rule, ...]] = {}
        self._followers = [
            Follower(store, Role.resource, self._role, self._drop_roles),
            Follower(store, ClusterRole.resource, self._cluster_role, self._drop_cluster_roles),
            Follower(store, RoleBinding.resource, self._role_binding, lambda: self._drop_bindings(False)),
            Follower(store, ClusterRoleBinding.resource, self._cluster_role_binding, lambda: self._drop_bindings(True)),
        ]

    async def catch_up(self) -> None:
        revision = self._store.revision
        if revision == self._seen:
            return
        for follower in self._followers:
            if await follower.catch_up():
                self.version += 1
        # Not before: whoever asks meanwhile must not take the index for caught up.
        self._seen = revision

    def grants(self, user: User) -> Iterator[Grant]:
        """Everything bound to the user or to one of the groups."""
        yield from self._by_subject.get((_USER, user.name), {}).values()
        for group in user.groups:
            yield from self._by_subject.get((_GROUP, group), {}).values()

    def rules(self, role: tuple[str, str]) -> tuple[Rule, ...]:
        """The rules of a role, empty for one that does not exist."""
        namespace, name = role
        if namespace:
            return self._roles.get(role, ())
        rules = self._gathered.get(name)
        if rules is None:
            rules = self._gathered[name] = self._gather(name)
        return rules

    def rules_for(self, user: User, namespace: str) -> list[Rule]:
        """All the rules that count for the user in a namespace ("" for cluster-wide rights only)."""
        found: list[Rule] = []
        for grant in self.grants(user):
            if not grant.namespace or grant.namespace == namespace:
                found.extend(self.rules(grant.role))
        return found

    def _gather(self, name: str, visited: frozenset[str] = frozenset()) -> tuple[Rule, ...]:
        """`visited` are the roles on the way here: roles that gather one another must not go round for ever."""
        role = self._cluster_roles.get(name)
        if role is None:
            return ()
        rules = dict.fromkeys(of_view(rule) for rule in role.rules)
        if role.aggregation_rule is not None:
            visited |= {name}
            for view in role.aggregation_rule.cluster_role_selectors:
                selector = from_label_selector(view)
                for other in self._cluster_roles.values():
                    if other.name not in visited and selector.matches(other.metadata.labels):
                        rules |= dict.fromkeys(self._gather(other.name, visited))
        return tuple(rules)

    def _role(self, key: str, value: bytes | None) -> None:
        namespace, _, name = key.partition("/")
        if value is None:
            self._roles.pop((namespace, name), None)
        else:
            self._roles[namespace, name] = tuple(of_view(rule) for rule in self._role_decoder.decode(value).rules)

    def _cluster_role(self, key: str, value: bytes | None) -> None:
        self._gathered.clear()
        if value is None:
            self._cluster_roles.pop(key, None)
        else:
            self._cluster_roles[key] = self._cluster_role_decoder.decode(value)

    def _role_binding(self, key: str, value: bytes | None) -> None:
        self._bind(key, value, key.partition("/")[0])

    def _cluster_role_binding(self, key: str, value: bytes | None) -> None:
        self._bind(f"/{key}", value, "")

    def _bind(self, key: str, value: bytes | None, namespace: str) -> None:
        subjects, _ = self._bound.pop(key, ((), None))
        for subject in subjects:
            grants = self._by_subject[subject]
            del grants[key]
            if not grants:
                del self._by_subject[subject]
        if value is None:
            return
        # Both kinds of binding have the same fields.
        binding = self._binding_decoder.decode(value)
        grant = Grant(namespace, role_key(binding.role_ref, namespace), key)
        found = list(dict.fromkeys(subject_key(subject, namespace) for subject in binding.subjects))
        self._bound[key] = (found, grant)
        for subject in found:
            self._by_subject.setdefault(subject, {})[key] = grant

    def _drop_roles(self) -> None:
        self._roles.clear()

    def _drop_cluster_roles(self) -> None:
        self._cluster_roles.clear()
        self._gathered.clear()

    def _drop_bindings(self, cluster: bool) -> None:
        for key in [key for key in self._bound if key.startswith("/") is cluster]:
            self._bind(key, None, "")


def role_key(ref: RoleRef, namespace: str) -> tuple[str, str]:
    """Where the role of a binding in `namespace` is found."""
    return (namespace if ref.kind == "Role" else "", ref.name)


def subject_key(subject: Subject, namespace: str) -> tuple[str, str]:
    """A service account is the user it authenticates as."""
    if subject.kind == "ServiceAccount":
        return (_USER, f"{PREFIX}{subject.namespace or namespace}:{subject.name}")
    return (subject.kind, subject.name)
