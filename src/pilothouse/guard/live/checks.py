"""The live checks: a change marks what it can affect, a step judges one marked thing. No I/O.

What is marked is an object (all checks of one object), or a check across objects in one namespace. After any sequence
of changes and enough steps, what was reported is what a full evaluation finds.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator
from functools import cache
from importlib import resources
from typing import Final

import orjson

from pilothouse.guard.finding import Check, Finding, Ref, Severity
from pilothouse.guard.findings.model import Basis, Found, Report
from pilothouse.guard.judge import judge_one
from pilothouse.guard.live.dependencies import CHECKS, PODS, reads_of
from pilothouse.guard.live.world import LiveEntry, Place, View, World, space_of
from pilothouse.guard.shipped import shipped_policies
from pilothouse.guard.snapshot import SYSTEM_NAMESPACES, CrossCheck, Hit
from pilothouse.policy.expressions import names_in

SOURCE: Final = "checks"
OWNERLESS: Final = Check(
    "owner-missing",
    "Workloads that nobody owns",
    Severity.LOW,
    "hygiene",
    "What is wrong with them is nobody's to mend.",
    "metadata:\n  labels:\n    pilothouse.io/owner: TEAM   # of the workload or of its namespace",
    other_names="kube-linter: required-label-owner",
)
UNCHECKED: Final = Check(
    "not-checked",
    "A check that could not be answered",
    Severity.MEDIUM,
    "hygiene",
    "What was not checked may be wrong.",
    "# see the reason; report it if the object is as its kind's schema says",
)
_MARKED_AT_ONCE: Final = 64
_Mark = tuple[str, Place | str]
"""A check's id and a namespace, or "" and an object's place."""


class LiveChecks:
    """See the module. `owner` says who owns an object, "" for nobody."""

    def __init__(self, world: World, owner: Callable[[Ref], str]) -> None:
        self.world = world
        self._owner = owner
        self._marked: dict[_Mark, None] = {}
        self._watched_by: dict[str, list[tuple[CrossCheck, bool]]] = {}
        for check in CHECKS.values():
            reads = reads_of(check)
            for kind in reads.local | reads.wide:
                self._watched_by.setdefault(kind, []).append((check, kind in reads.wide))

    def __len__(self) -> int:
        return len(self._marked)

    def put(self, document: bytes) -> bool:
        """Takes a trimmed object as it is now. Whether its ownership may be another."""
        old, new = self.world.put(document)
        if old is not None and old.document == document:
            return False
        self._marked[("", new.place)] = None
        self._mark_related(old, new)
        return old is None or old.known != new.known

    def remove(self, place: Place) -> bool:
        """Forgets an object. Whether it was known."""
        old = self.world.remove(place)
        if old is None:
            return False
        self._marked[("", place)] = None
        self._mark_related(old, None)
        return True

    def mark_all(self, known: Callable[[str], Basis | None]) -> Iterator[None]:
        """Marks everything but objects whose last verdict rests on what is there now; `known` says what it rests on.
        Yields now and then, for others to have their turn; nothing may be put or removed until it has ended."""
        self._marked.clear()
        for number, (place, entry) in enumerate(self.world.entries.items()):
            if number % _MARKED_AT_ONCE == _MARKED_AT_ONCE - 1:
                yield
            if known(subject_of(place)) != self.basis(entry):
                self._marked[("", place)] = None
        for check in CHECKS.values():
            self._mark_everywhere(check)
        for _, space in self.world.spaces:
            self.mark_owners(space)

    def mark_owners(self, space: str) -> None:
        """Marks a namespace to be looked at for workloads that nobody owns."""
        self._marked[(OWNERLESS.id, space)] = None

    def subjects(self) -> set[str]:
        """The subjects there are now: whatever else was reported belongs to nothing any more."""
        known = {subject_of(place) for place in self.world.entries}
        spaces = {space for _, space in self.world.spaces}
        return known | {across(check, space) for check in (*CHECKS, OWNERLESS.id) for space in spaces}

    def step(self) -> Report:
        """Judges one marked thing."""
        mark = next(iter(self._marked))
        del self._marked[mark]
        check_id, about = mark
        if isinstance(about, tuple):
            return self._object(about)
        return self._ownerless(about) if check_id == OWNERLESS.id else self._across(CHECKS[check_id], about)

    def _mark_related(self, old: LiveEntry | None, new: LiveEntry | None) -> None:
        entry = new or old
        assert entry is not None
        kind, space = entry.ref.kind, space_of(entry)
        seen_alike = old is not None and new is not None and _seen(old) == _seen(new)
        for check, wide in self._watched_by.get(kind, ()):
            if not wide:
                self._marked[(check.check.id, space)] = None
            elif not seen_alike:
                self._mark_everywhere(check)
        if kind in PODS or kind == "Namespace":
            self.mark_owners(space)
        others = self._within(space) if kind == "Namespace" and reads_namespaces() else ()
        for place in (*self.world.touched, *others):
            self._marked[("", place)] = None

    def _within(self, space: str) -> Iterator[Place]:
        return (place for (_, of), found in self.world.spaces.items() if of == space for place in found)

    def _mark_everywhere(self, check: CrossCheck) -> None:
        reads = reads_of(check)
        # A check of which nothing is known has no objects of its own: it looks at all from nowhere.
        spaces = [space for kind, space in self.world.spaces if kind in reads.local] if reads.local else [""]
        for space in spaces:
            self._marked[(check.check.id, space)] = None

    def _object(self, place: Place) -> Report:
        entry = self.world.entries.get(place)
        if entry is None:
            return Report(SOURCE, subject_of(place), ())
        labels = self.world.labels_of_namespace(entry.namespace) if entry.namespace else None
        tree = orjson.loads(entry.document)
        report = judge_one(tree, self.world.tree_of(entry), labels)
        missed = (
            Finding(UNCHECKED, entry.ref, f"{missed.check_id}: {missed.reason}")
            for missed in report.not_evaluated
            if missed.unusual
        )
        return Report(SOURCE, subject_of(place), tuple(map(Found, (*report.findings, *missed))), self.basis(entry))

    def basis(self, entry: LiveEntry) -> Basis:
        """What the verdict on an object rests on."""
        space = entry.namespace
        labels = self.world.labels_of_namespace(space) if reads_namespaces() else None
        mount = self.world.mounts.get(space, {}).get(entry.account) if entry.account else None
        around = (labels, self.world.limits(space) if entry.account else None, mount)
        digest = hashlib.blake2b(entry.document, digest_size=12)
        digest.update(repr(around).encode())
        return Basis(digest.hexdigest(), rules_version())

    def _across(self, check: CrossCheck, space: str) -> Report:
        view = View(self.world, space, reads_of(check).local)
        try:
            found = tuple(Found(_finding(check.check, hit)) for hit in check.find(view))
        except (AttributeError, KeyError, TypeError, ValueError) as error:
            # An object of a custom kind may hold anything where a list is expected.
            ref = Ref("v1", "Namespace", "", space or "kube-system")
            said = f"{check.check.id}: an object has another shape than its kind's: {error}"
            found = (Found(Finding(UNCHECKED, ref, said)),)
        return Report(SOURCE, across(check.check.id, space), found, Basis(rules=rules_version()))

    def _ownerless(self, space: str) -> Report:
        workloads = self.world.workloads.get(space, {}).values() if space not in SYSTEM_NAMESPACES else ()
        lacking = sorted(f"{entry.ref.kind}/{entry.name}" for entry in workloads if not self._owner(entry.ref))
        found: tuple[Found, ...] = ()
        if lacking:
            said = "has workloads that nobody owns"
            shown = ", ".join(lacking[:5]) + (f" and {len(lacking) - 5} more" if len(lacking) > 5 else "")
            ref = Ref("v1", "Namespace", "", space)
            found = (Found(Finding(OWNERLESS, ref, said, "", "metadata.labels"), {"workloads": shown}),)
        return Report(SOURCE, across(OWNERLESS.id, space), found)


def _seen(entry: LiveEntry) -> object:
    """What checks that read a kind of all namespaces see of a workload or namespace; other kinds they see whole."""
    if entry.ref.kind in PODS:
        return entry.pod_labels, entry.account
    return entry.known.labels if entry.ref.kind == "Namespace" else entry.document


def _finding(check: Check, hit: Hit) -> Finding:
    return Finding(check, hit.entry.ref, hit.message, hit.container, hit.field)


def subject_of(place: Place) -> str:
    """The key under which the checks of one object report."""
    return "/".join(place)


def across(check_id: str, space: str) -> str:
    """The key under which a check across objects reports for a namespace."""
    return f"across/{check_id}/{space}"


@cache
def reads_namespaces() -> bool:
    """Whether any check of one object looks at the labels of its namespace."""
    return any(
        policy.constraints.get("namespaceSelector") or "namespaceObject" in names_in(policy)
        for policy in shipped_policies()
    )


@cache
def rules_version() -> str:
    """Another one when a shipped check is."""
    digest = hashlib.blake2b(digest_size=12)
    root = resources.files("pilothouse.guard")
    for folder in ("checks", "cross"):
        for file in sorted((root / folder).iterdir(), key=lambda entry: entry.name):
            if file.name.endswith((".yaml", ".py")):
                digest.update(file.read_bytes())
    return digest.hexdigest()
