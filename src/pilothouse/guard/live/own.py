"""Users' own checks on what runs: policies of the cluster that are annotated as checks and bound. No I/O.

What changes an object, its namespace, a policy, a binding or parameters marks what it can affect. Judging one object
may take as long as a check's limits allow, so it is for a thread: `next` gathers what it needs, `judge` touches nothing
else.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Final, NamedTuple

import orjson

from pilothouse.guard.finding import Finding, Item, ref_of
from pilothouse.guard.findings.model import Found, Report
from pilothouse.guard.judge import places_of
from pilothouse.guard.live.checks import UNCHECKED, subject_of
from pilothouse.guard.live.kinds import checked_kinds
from pilothouse.guard.live.world import LiveEntry, Place, World
from pilothouse.guard.own.evaluate import Limits, OwnChecks, kinds_of
from pilothouse.guard.own.load import BINDING, load
from pilothouse.guard.podspec import value_at
from pilothouse.guard.shipped import all_checks
from pilothouse.machinery.objects import Obj
from pilothouse.policy.load import KIND
from pilothouse.policy.match import Subject

SOURCE: Final = "own-checks"
ID: Final = "pilothouse.io/id"
_LIMITS: Final = Limits(in_all=float("inf"))
_AROUND: Final = ("Namespace", "LimitRange", "ServiceAccount")


class Pending(NamedTuple):
    """An object to be judged, with what its namespace adds; and that Namespace, None where it is not known."""

    entry: LiveEntry
    subject: Subject
    namespace: Obj | None


class OwnLive:
    """See the module."""

    def __init__(self, world: World) -> None:
        self._world = world
        self._objects: dict[tuple[str, str], Obj] = {}
        """Policies and bindings, by kind and name."""
        self._own = OwnChecks()
        self._shipped = frozenset(check.id for check in all_checks())
        self._stale = False
        self._param_kinds: frozenset[str] = frozenset()
        self._marked: dict[Place, None] = {}
        self._wrong: set[Place] = set()
        """Objects with findings."""
        self._faulty: set[str] = set()
        """Subjects of policies with findings."""

    def __len__(self) -> int:
        return len(self._marked) + self._stale

    def take(self, kind: str, name: str, tree: Obj | None) -> None:
        """Takes a policy or binding as it is now, None when it is gone."""
        known = self._objects.pop((kind, name), None)
        if tree is not None:
            self._objects[kind, name] = tree
        self._stale = self._stale or known != tree

    def touch(self, place: Place) -> None:
        """An object of the world was put or removed."""
        kind, namespace, name = place
        self._stale = self._stale or kind in self._param_kinds
        if not self._own:
            return
        self._marked[place] = None
        if kind in _AROUND:
            around = name if kind == "Namespace" else namespace
            self._mark(found for (_, of), places in self._world.spaces.items() if of == around for found in places)

    def next(self) -> list[Report] | Pending:
        """Takes up what changed of the checks, or an object to be judged."""
        if self._stale:
            return self._reload()
        place = next(iter(self._marked))
        del self._marked[place]
        entry = self._world.entries.get(place)
        if entry is None:
            self._wrong.discard(place)
            return [Report(SOURCE, subject_of(place), ())]
        space = entry.namespace
        namespace = self._world.entries.get(("Namespace", "", space))
        labels = self._world.labels_of_namespace(space) if space else None
        return Pending(entry, Subject(self._world.tree_of(entry), labels), namespace.tree if namespace else None)

    def judge(self, pending: Pending) -> tuple[Found, ...]:
        """What is wrong with an object."""
        entry, subject, namespace = pending
        verdict, checks = self._own.evaluate(subject, {}, entry.namespace, namespace), self._own.by_policy
        found = [
            Found(Finding(checks[violation.policy.name], entry.ref, message, container, path))
            for violation in verdict.violations
            for container, path, message in places_of(violation, subject.tree)
        ]
        found += [
            Found(Finding(UNCHECKED, entry.ref, f"{checks[missed.policy.name].id}: {missed.reason}"))
            for missed in verdict.not_checked
            if not missed.reason.startswith("not evaluated")
        ]
        return tuple(found)

    def judged(self, pending: Pending, found: tuple[Found, ...]) -> Report:
        """Notes what was found."""
        place = pending.entry.place
        (self._wrong.add if found else self._wrong.discard)(place)
        return Report(SOURCE, subject_of(place), found)

    def subjects(self) -> set[str]:
        """What may have findings now."""
        return self._faulty | {subject_of(place) for place in self._wrong}

    def _mark(self, places: Iterable[Place]) -> None:
        self._marked.update(dict.fromkeys(places))

    def _reload(self) -> list[Report]:
        self._stale = False
        policies = list(self._policies())
        self._param_kinds = frozenset(str(value_at(tree, "spec.paramKind.kind")) for tree in policies) - {"None"}
        names = {str(value_at(tree, "metadata.name")) for tree in policies}
        bindings = [tree for tree in self._of(BINDING) if value_at(tree, "spec.policyName") in names]
        trees = [*policies, *bindings, *self._parameters()]
        items = [Item(tree, subject_of_policy(tree)) for tree in trees]
        checks, faults = load(items, self._shipped) if policies else ([], [])
        self._own = OwnChecks(checks, _LIMITS)
        self._mark(self._wrong)
        if checks:
            self._mark(self._world.entries)
        wrong: dict[str, list[Found]] = {}
        by_subject = {item.file: ref_of(item.tree) for item in items}
        for subject, message in (*((fault.file, fault.message) for fault in faults), *_not_followed(policies)):
            wrong.setdefault(subject, []).append(Found(Finding(UNCHECKED, by_subject[subject], message)))
        reports = [Report(SOURCE, subject, tuple(wrong.get(subject, ()))) for subject in {*wrong, *self._faulty}]
        self._faulty = set(wrong)
        return reports

    def _of(self, kind: str) -> list[Obj]:
        return [tree for (of, _), tree in sorted(self._objects.items(), key=lambda entry: entry[0]) if of == kind]

    def _policies(self) -> Iterator[Obj]:
        """Those that are checks, and in force: annotated, bound, and none of ours that somebody exported."""
        bound = {value_at(tree, "spec.policyName") for tree in self._of(BINDING)}
        for tree in self._of(KIND):
            check_id = (value_at(tree, "metadata.annotations") or {}).get(ID)
            if check_id and check_id not in self._shipped and value_at(tree, "metadata.name") in bound:
                yield tree

    def _parameters(self) -> Iterator[Obj]:
        for kind in sorted(self._param_kinds):
            for entry in self._world.kinds.get(kind, {}).values():
                yield orjson.loads(entry.document)


def subject_of_policy(tree: Obj) -> str:
    """The key under which what is wrong with a policy, a binding or its parameters is reported."""
    return f"{tree['kind']}//{value_at(tree, 'metadata.name')}"


def _not_followed(policies: Iterable[Obj]) -> Iterator[tuple[str, str]]:
    """What the checks are about and nobody here looks at, which is never passed over."""
    followed = {(resource.group, resource.plural) for resource in checked_kinds()}
    for tree in policies:
        for group, plural in sorted(kinds_of(value_at(tree, "spec.matchConstraints") or {}) - followed):
            what = f"{plural}.{group}" if group else plural
            yield subject_of_policy(tree), f"{what} are judged at the door only, not while they run"
