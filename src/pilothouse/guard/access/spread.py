"""How rights lead to further rights: to cluster-admin, to Secrets, to a node; and from a pod that is broken into. Pure.

A step is something a subject may do that makes it another one, or gives it what it was not meant to have. Sources:
Kubernetes documentation, "RBAC Good Practices" (privilege escalation risks).
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Final, NamedTuple, TypeVar

from pilothouse.guard.access.rights import (
    ALL,
    MASTERS,
    Asked,
    Grant,
    Rights,
    Subject,
    account,
    account_of,
    allows,
    groups_of,
)

T = TypeVar("T")

CLUSTER_ADMIN, SECRETS, NODE = "cluster-admin", "secrets", "node"
TARGETS: Final = (CLUSTER_ADMIN, SECRETS, NODE)
_RBAC: Final = "rbac.authorization.k8s.io"
_WORKLOADS: Final = (
    ("", "pods"),
    ("", "replicationcontrollers"),
    ("apps", "deployments"),
    ("apps", "daemonsets"),
    ("apps", "statefulsets"),
    ("apps", "replicasets"),
    ("batch", "jobs"),
    ("batch", "cronjobs"),
)
ANY: Final = frozenset({"*"})
_CERTIFICATES: Final = "certificates.k8s.io"
_CLIENT_SIGNER: Final = "kubernetes.io/kube-apiserver-client"
_CLUSTER_WIDE: Final[tuple[tuple[str, str, tuple[tuple[str, str, str], ...]], ...]] = (
    ("may do everything", CLUSTER_ADMIN, (("*", "*", "*"),)),
    (
        "may give ClusterRoles rights it lacks",
        CLUSTER_ADMIN,
        (("escalate", _RBAC, "clusterroles"), ("update patch", _RBAC, "clusterroles")),
    ),
    (
        "may bind cluster-admin",
        CLUSTER_ADMIN,
        (("bind", _RBAC, "clusterroles"), ("create", _RBAC, "clusterrolebindings")),
    ),
    (
        "may have every write pass a webhook of its own",
        CLUSTER_ADMIN,
        (("create update patch", "admissionregistration.k8s.io", "mutatingwebhookconfigurations"),),
    ),
    (
        "may approve a client certificate for any name",
        CLUSTER_ADMIN,
        (
            ("approve", _CERTIFICATES, "signers"),
            ("update patch", _CERTIFICATES, "certificatesigningrequests/approval"),
            ("create", _CERTIFICATES, "certificatesigningrequests"),
        ),
    ),
    ("may run commands in every pod of a node", NODE, (("create get", "", "nodes/proxy"),)),
    ("may create volumes that are a path of a node", NODE, (("create", "", "persistentvolumes"),)),
)
"""What rights that count everywhere lead to: a target, and what is needed together."""
_Offer = tuple[str, str, "State"]
"""What may be done, by which bindings, and where that leads."""


class PodFacts(NamedTuple):
    """What of a pod matters here."""

    namespace: str
    name: str
    account: str
    node: str = ""
    mounts_token: bool = True
    owns_node: bool = False
    """Privileged, in the host's process namespace, or with a host path."""


class State(NamedTuple):
    """Where somebody has got to: `kind` is subject, pod, or one of the targets."""

    kind: str
    name: str = ""
    subject: Subject | None = None

    def __str__(self) -> str:
        if self.subject is not None:
            return str(self.subject)
        if self.kind == SECRETS:
            return f"Secrets of namespace {self.name}" if self.name else "all Secrets"
        if self.kind == NODE:
            return f"root on node {self.name}" if self.name else "root on a node"
        return f"Pod {self.name}" if self.kind == "pod" else self.kind


class Step(NamedTuple):
    """One step: from where, by what, by which grant, to where."""

    source: State
    does: str
    by: str
    target: State


@dataclass
class Cluster:
    """All that decides how far somebody gets. `privileged` are namespaces whose pods may own their node."""

    rights: Rights
    accounts: Sequence[tuple[str, str]] = ()
    pods: Sequence[PodFacts] = ()
    privileged: frozenset[str] = frozenset()
    _known: dict[State, list[Step]] = field(default_factory=dict, repr=False)

    def paths(self, start: State) -> dict[State, list[Step]]:
        """The shortest way to each state that can be reached, as steps."""
        ways: dict[State, list[Step]] = {start: []}
        pending = deque([start])
        while pending:
            state = pending.popleft()
            if state.kind == CLUSTER_ADMIN:
                continue  # beyond it there is nothing left to get
            for step in self.steps(state):
                if step.target not in ways:
                    ways[step.target] = [*ways[state], step]
                    pending.append(step.target)
        return ways

    def steps(self, state: State) -> list[Step]:
        """What can be done from a state."""
        found = self._known.get(state)
        if found is None:
            found = self._known[state] = list(self._steps(state))
        return found

    def _steps(self, state: State) -> Iterator[Step]:
        if state.subject is not None:
            if state.subject == Subject("Group", MASTERS):
                yield Step(state, "may do everything", "the group system:masters", State(CLUSTER_ADMIN))
            yield from self._by_rights(state, state.subject)
        elif state.kind == "pod":
            yield from self._from_pod(state)
        elif state.kind == NODE and state.name:
            for pod in self._on_node.get(state.name, ()):
                if pod.mounts_token:
                    target = _is(account(pod.namespace, pod.account))
                    yield Step(state, "reads the token of", f"Pod {pod.namespace}/{pod.name}", target)

    def _from_pod(self, state: State) -> Iterator[Step]:
        pod = self._by_name.get(state.name)
        if pod is None:
            return
        if pod.mounts_token:
            yield Step(state, "holds the token of", "its volume", _is(account(pod.namespace, pod.account)))
        if pod.owns_node:
            yield Step(state, "is not kept from its node", "its own spec", State(NODE, pod.node))

    def _by_rights(self, state: State, subject: Subject) -> Iterator[Step]:
        """Rights of several bindings count together, where they count."""
        grants = list(self.rights.of(subject, groups_of(subject)))
        for namespace in dict.fromkeys(("", *(grant.namespace for grant in grants))):
            can = _Can([grant for grant in grants if grant.namespace in ("", namespace)], namespace)
            for does, by, target in (*self._alone(can), *self._as_others(can)):
                yield Step(state, does, by, target)

    def _alone(self, can: _Can) -> Iterator[_Offer]:
        """What rights give by themselves."""
        for does, kind, needs in _CLUSTER_WIDE if not can.namespace else ():
            if by := can(*needs):
                yield does, by, State(kind)
        if by := can(("get list watch", "", "secrets")):
            yield "may read Secrets", by, State(SECRETS, can.namespace)
        for group, resource in _WORKLOADS:
            if by := can(("create", group, resource)):
                yield f"may create {resource} that mount Secrets", by, State(SECRETS, can.namespace)
                if can.namespace in self.privileged or (not can.namespace and self.privileged):
                    yield f"may create privileged {resource}", by, State(NODE)

    def _as_others(self, can: _Can) -> Iterator[_Offer]:
        """As whom rights let somebody act."""
        makers = ((resource, can(("create", group, resource))) for group, resource in _WORKLOADS)
        resource, maker = next(((resource, by) for resource, by in makers if by), ("", ""))
        accounts = self._accounts(can.namespace)
        for namespace, name in accounts if maker else ():
            yield f"may create {resource} that run as", maker, _is(account(namespace, name))
        for does, verb, what in (
            ("may issue tokens of", "create", "serviceaccounts/token"),
            ("may act as", "impersonate", "serviceaccounts"),
        ):
            named = can.names(verb, what)
            for namespace, name in accounts if named is ANY else [entry for entry in accounts if entry[1] in named]:
                if by := can((verb, "", what), name=name):
                    yield does, by, _is(account(namespace, name))
        entering = (can(("create get", "", f"pods/{sub}")) for sub in ("exec", "attach"))
        if by := next(filter(None, (*entering, can(("update patch", "", "pods/ephemeralcontainers")))), ""):
            for pod in self._pods_of.get(can.namespace, ()) if can.namespace else self.pods:
                yield "may run commands in", by, State("pod", f"{pod.namespace}/{pod.name}")
        if can.namespace:
            return
        for kind, what in (("User", "users"), ("Group", "groups")):
            named = can.names("impersonate", what)
            known = self._people[kind] if named is ANY else sorted(named)
            for name in known:
                if by := can(("impersonate", "", what), name=name):
                    yield "may act as", by, _is(Subject(kind, name))

    def _accounts(self, namespace: str) -> Sequence[tuple[str, str]]:
        return self._accounts_of.get(namespace, ()) if namespace else self.accounts

    @cached_property
    def _people(self) -> dict[str, list[str]]:
        """Users and groups there are to act as; accounts have a right of their own."""
        known = (Subject("Group", MASTERS), *self.rights.grants)
        plain = [subject for subject in dict.fromkeys(known) if account_of(subject) is None]
        return {kind: [subject.name for subject in plain if subject.kind == kind] for kind in ("User", "Group")}

    @cached_property
    def _accounts_of(self) -> dict[str, list[tuple[str, str]]]:
        return _grouped(self.accounts, lambda found: found[0])

    @cached_property
    def _pods_of(self) -> dict[str, list[PodFacts]]:
        return _grouped(self.pods, lambda pod: pod.namespace)

    @cached_property
    def _on_node(self) -> dict[str, list[PodFacts]]:
        return _grouped(self.pods, lambda pod: pod.node)

    @cached_property
    def _by_name(self) -> dict[str, PodFacts]:
        return {f"{pod.namespace}/{pod.name}": pod for pod in self.pods}


class _Can:
    """What some grants allow together, in a namespace ("" for everywhere)."""

    def __init__(self, grants: Sequence[Grant], namespace: str) -> None:
        self.namespace = namespace
        self._grants = grants

    def __call__(self, *needs: tuple[str, str, str], name: str = "") -> str:
        """The bindings that give all of these (any of the verbs, a group, a resource); "" when one is not given, or
        when the namespace adds nothing to what counts everywhere."""
        by: dict[str, bool] = {}
        for verbs, group, resource in needs:
            grant = self._giving(verbs.split(), group, resource, name)
            if grant is None:
                return ""
            by[str(grant)] = grant.namespace == self.namespace
        return " and ".join(by) if any(by.values()) else ""

    def names(self, verb: str, resource: str) -> frozenset[str]:
        """The names that rights on a resource of the core group are about; `ANY` for whatever name."""
        rules = [rule for grant in self._grants for rule in grant.rules if verb in rule.verbs or ALL in rule.verbs]
        plural, _, sub = resource.partition("/")
        found: set[str] = set()
        for rule in rules:
            of = rule.resource_names or [""]
            if any(allows(rule, Asked(verb, "", plural, sub, self.namespace, name)) for name in of):
                if not rule.resource_names:
                    return ANY
                found.update(rule.resource_names)
        return frozenset(found)

    def _giving(self, verbs: Sequence[str], group: str, resource: str, name: str) -> Grant | None:
        plural, _, sub = resource.partition("/")
        given = [Asked(verb, group, plural, sub, self.namespace, name) for verb in verbs]
        # A right on one object by its name is a way too, where the name decides.
        if resource == "signers":
            given.append(Asked(verbs[0], group, plural, sub, self.namespace, _CLIENT_SIGNER))
        for grant in self._grants:
            if any(allows(rule, asked) for rule in grant.rules for asked in given):
                return grant
        return None


def _is(subject: Subject) -> State:
    return State("subject", subject.name, subject)


def _grouped(entries: Iterable[T], key: Callable[[T], str]) -> dict[str, list[T]]:
    found: dict[str, list[T]] = {}
    for entry in entries:
        found.setdefault(key(entry), []).append(entry)
    return found
