"""How rights lead to further rights: to cluster-admin, to Secrets, to a node, past the guard rails; and from a pod that
is broken into. Pure.

A step is something a subject may do that makes it another one, or gives it what it was not meant to have
(`offers.py`).
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Final, NamedTuple, TypeVar

from pilothouse.guard.access import nodes
from pilothouse.guard.access.offers import (
    ANY,
    APPROVES_NODES,
    CLUSTER_ADMIN,
    ENTERS,
    EVERYWHERE,
    GIVES_RIGHTS,
    GUARD,
    IN_A_NAMESPACE,
    NODE,
    SECRETS,
    WORKLOADS,
    Can,
    Need,
    named,
)
from pilothouse.guard.access.rights import MASTERS, Rights, Subject, account, account_of, groups_of

T = TypeVar("T")

TARGETS: Final = (CLUSTER_ADMIN, SECRETS, NODE, GUARD)
_Way = tuple[str, str, "State"]
"""What may be done, by which bindings, and where that leads."""


class PodFacts(NamedTuple):
    """What of a pod matters here. `secrets` are those it names."""

    namespace: str
    name: str
    account: str
    node: str = ""
    mounts_token: bool = True
    owns_node: bool = False
    """Privileged, in the host's process namespace, or with a host path."""
    secrets: tuple[str, ...] = ()


class State(NamedTuple):
    """Where somebody has got to: `kind` is subject, pod, or one of the targets."""

    kind: str
    name: str = ""
    subject: Subject | None = None

    def __str__(self) -> str:
        if self.subject is not None:
            return str(self.subject)
        if self.kind == SECRETS:
            words = "Secret" if "/" in self.name else "Secrets of namespace"
            return f"{words} {self.name}" if self.name else "all Secrets"
        if self.kind == NODE:
            return f"root on node {self.name}" if self.name else "root on a node"
        if self.kind == GUARD:
            return f"past the guard rails of namespace {self.name}" if self.name else "past the guard rails"
        return f"Pod {self.name}" if self.kind == "pod" else self.kind


class Step(NamedTuple):
    """One step: from where, by what, by which grant, to where."""

    source: State
    does: str
    by: str
    target: State


@dataclass
class Cluster:
    """All that decides how far somebody gets. `privileged` are namespaces whose pods may own their node; `groups` those
    that somebody is in by a certificate or token."""

    rights: Rights
    accounts: Sequence[tuple[str, str]] = ()
    pods: Sequence[PodFacts] = ()
    privileged: frozenset[str] = frozenset()
    nodes: Sequence[str] = ()
    groups: Mapping[Subject, Sequence[str]] = field(default_factory=dict)
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
            if state.subject == Subject("Group", MASTERS) or MASTERS in self.groups.get(state.subject, ()):
                yield Step(state, "may do everything", "the group system:masters", State(CLUSTER_ADMIN))
            yield from self._by_rights(state, state.subject)
            if node := nodes.node_of(state.subject):
                yield from self._as_node(state, node)
        elif state.kind == "pod":
            yield from self._from_pod(state)
        elif state.kind == NODE and state.name:
            yield Step(state, "holds the certificate of", "its disk", _node(state.name))
            for pod in self._on_node.get(state.name, ()):
                if pod.mounts_token:
                    target = _is(account(pod.namespace, pod.account))
                    yield Step(state, "reads the token of", f"Pod {pod.namespace}/{pod.name}", target)
        elif state.kind == NODE:
            for name in self.nodes:
                yield Step(state, "may be any, such as", "its own choice", State(NODE, name))

    def _from_pod(self, state: State) -> Iterator[Step]:
        pod = self._by_name.get(state.name)
        if pod is None:
            return
        if pod.mounts_token:
            yield Step(state, "holds the token of", "its volume", _is(account(pod.namespace, pod.account)))
        for secret in pod.secrets:
            yield Step(state, "names", "its own spec", State(SECRETS, f"{pod.namespace}/{secret}"))
        if pod.owns_node:
            yield Step(state, "is not kept from its node", "its own spec", State(NODE, pod.node))

    def _as_node(self, state: State, node: str) -> Iterator[Step]:
        """What a node may do for the pods that are bound to it."""
        for pod in self._on_node.get(node, ()):
            place = f"{nodes.BY}, for Pod {pod.namespace}/{pod.name}"
            yield Step(state, "may issue tokens of", place, _is(account(pod.namespace, pod.account)))
            for secret in pod.secrets:
                yield Step(state, "may read Secrets", place, State(SECRETS, f"{pod.namespace}/{secret}"))

    def _by_rights(self, state: State, subject: Subject) -> Iterator[Step]:
        """Rights of several bindings count together, where they count."""
        grants = list(self.rights.of(subject, (*groups_of(subject), *self.groups.get(subject, ()))))
        for namespace in dict.fromkeys(("", *(grant.namespace for grant in grants))):
            can = Can([grant for grant in grants if grant.namespace in ("", namespace)], namespace)
            if not namespace:
                for does, by, target in self._everywhere(can):
                    yield Step(state, does, by, target)
            for does, by, target in (*self._alone(can), *self._as_others(can)):
                yield Step(state, does, by, target)

    def _everywhere(self, can: Can) -> Iterator[_Way]:
        """What rights that count everywhere give."""
        for does, kind, needs in EVERYWHERE:
            if by := can(*needs):
                yield does, by, State(kind)
        for name, by in named(can, "create get", "nodes/proxy"):
            yield "may run commands in every pod of a node", by, State(NODE, name)
        if by := can(*APPROVES_NODES):
            for name in self.nodes:
                yield "may approve the certificate of", by, _node(name)
        for name, by in named(can, "update patch", "namespaces"):
            yield "may change its Pod Security", by, State(GUARD, name)
        yield from self._people(can)

    def _alone(self, can: Can) -> Iterator[_Way]:
        """What rights give by themselves, in a namespace or everywhere."""
        here = State(SECRETS, can.namespace)
        for does, kind, needs in IN_A_NAMESPACE:
            if by := can(*needs):
                yield does, by, State(kind, can.namespace)
        for name, by in named(can, "get list watch", "secrets") if can.namespace else ():
            yield "may read it", by, State(SECRETS, f"{can.namespace}/{name}")
        for does, needs in GIVES_RIGHTS:
            if by := can(*needs):
                yield f"{does} read", by, here
        labels = can(Need("update patch", "", "namespaces", (can.namespace,)))
        if labels:
            yield "may change Pod Security", labels, State(GUARD, can.namespace)
        for need in WORKLOADS:
            if by := can(need):
                yield f"may write {need.resource} that mount Secrets", by, here
                if can.namespace in self.privileged or (not can.namespace and self.privileged):
                    yield f"may write privileged {need.resource}", by, State(NODE)
                elif labels:
                    yield f"may let its namespace be privileged, and write {need.resource}", by, State(NODE)

    def _as_others(self, can: Can) -> Iterator[_Way]:
        """As whom rights let somebody act."""
        accounts = self._accounts_of.get(can.namespace, ()) if can.namespace else self.accounts
        resource, maker = can.workload()
        granters = [(f"{does} act as", can(*needs)) for does, needs in GIVES_RIGHTS]
        for does, by in ((f"may write {resource} that run as", maker), *granters):
            for namespace, name in accounts if by else ():
                yield does, by, _is(account(namespace, name))
        for does, verb, what in (
            ("may issue tokens of", "create", "serviceaccounts/token"),
            ("may act as", "impersonate", "serviceaccounts"),
        ):
            about = can.names(verb, what)
            for namespace, name in accounts if about is ANY else [entry for entry in accounts if entry[1] in about]:
                if by := can(Need(verb, "", what, (name,))):
                    yield does, by, _is(account(namespace, name))
        pods = self._pods_of.get(can.namespace, ()) if can.namespace else self.pods
        for does, verbs, what in ENTERS:
            by = can(Need(verbs, "", what))
            ways = dict(named(can, verbs, what))
            for pod in pods if by or ways else ():
                if granted := by or ways.get(pod.name, ""):
                    yield does, granted, State("pod", f"{pod.namespace}/{pod.name}")

    def _people(self, can: Can) -> Iterator[_Way]:
        """Users and groups that somebody may act as. A group needs somebody to be acted as, too."""
        some = [*(("users", name) for name in can.names("impersonate", "users"))]
        some += [("serviceaccounts", name) for name in can.names("impersonate", "serviceaccounts")]
        for kind, what in (("User", "users"), ("Group", "groups") if some else ("", "")):
            about = can.names("impersonate", what) if kind else frozenset[str]()
            for name in self._bound[kind] if about is ANY else sorted(about):
                if by := can(Need("impersonate", "", what, (name,))):
                    yield "may act as", by, _is(Subject(kind, name))

    @cached_property
    def _bound(self) -> dict[str, list[str]]:
        """Users and groups there are to act as; accounts have a right of their own."""
        known = (Subject("Group", MASTERS), *self.rights.grants, *map(_node_user, self.nodes))
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


def _is(subject: Subject) -> State:
    return State("subject", subject.name, subject)


def _node_user(name: str) -> Subject:
    return Subject("User", nodes.PREFIX + name)


def _node(name: str) -> State:
    return _is(_node_user(name))


def _grouped(entries: Iterable[T], key: Callable[[T], str]) -> dict[str, list[T]]:
    found: dict[str, list[T]] = {}
    for entry in entries:
        found.setdefault(key(entry), []).append(entry)
    return found
