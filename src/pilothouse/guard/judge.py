"""The verdict over a set of objects: form, checks of one object, checks across objects. Pure.

Files and clusters are judged alike: the objects given are taken as the cluster they would become.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cache, lru_cache, partial

from pilothouse.guard.blind import BLIND
from pilothouse.guard.cross import CROSS_CHECKS
from pilothouse.guard.custom_kinds import custom_kinds
from pilothouse.guard.effective import effective
from pilothouse.guard.finding import Check, Finding, Item, NotEvaluated, Ref, Severity, ref_of
from pilothouse.guard.own.evaluate import OwnChecks
from pilothouse.guard.podspec import CONTAINER_FIELDS, value_at
from pilothouse.guard.schema import form
from pilothouse.guard.shipped import check_of, shipped_policies
from pilothouse.guard.snapshot import CrossCheck, Snapshot
from pilothouse.machinery.objects import Obj
from pilothouse.policy.evaluate import Evaluator
from pilothouse.policy.load import Policy
from pilothouse.policy.match import Subject
from pilothouse.policy.verdict import Verdict, Violation

WEIGHT: Mapping[Severity, int] = {Severity.CRITICAL: 10, Severity.HIGH: 5, Severity.MEDIUM: 2, Severity.LOW: 1}
_CONTAINERS = " (containers: "
_NAMED = re.compile(r"^(?P<before>.*?)(?P<list>[\w.]+)\[(?P<name>[^\]]*)\](?P<after>.*)$")


@dataclass(frozen=True, slots=True)
class Options:
    """How to judge: the Kubernetes version meant, the namespace of objects that name none, parameters by name of
    policy, users' own checks."""

    version: tuple[int, int] = (1, 35)
    namespace: str = "default"
    params: Mapping[str, Obj] = field(default_factory=dict)
    own: OwnChecks = field(default_factory=OwnChecks)


@dataclass(frozen=True, slots=True)
class Accepted:
    """A finding that somebody accepts, and why, until when and where that is written (`how`: `comment`, `annotation` or
    `exemption`)."""

    finding: Finding
    reason: str
    owner: str
    expires: str
    how: str
    file: str = ""
    line: int = 0


@dataclass(frozen=True, slots=True)
class Report:
    """What was found; `passed_weight` is the sum of weights of checks that passed, for the score.

    `known` are findings that are not shown since a saved run had them; they count for score and grade all the same.
    `accepted` are those that an exception accepts; they do not count. `milder` are those that nobody wants to be shown,
    being less severe than asked for; they count.
    """

    findings: tuple[Finding, ...]
    not_evaluated: tuple[NotEvaluated, ...]
    objects: int
    passed_weight: int = 0
    known: tuple[Finding, ...] = ()
    accepted: tuple[Accepted, ...] = ()
    milder: tuple[Finding, ...] = ()

    @property
    def score(self) -> int:
        """Percentage of what was checked that is right, weighed by severity; 100 when nothing is wrong."""
        failed = sum(WEIGHT[finding.check.severity] for finding in (*self.findings, *self.known, *self.milder))
        return (100 * self.passed_weight) // (self.passed_weight + failed) if failed else 100

    @property
    def grade(self) -> str:
        """A to F by score; a high finding keeps it from A, a critical one makes it F. "-" when nothing was checked."""
        found = worst((*self.findings, *self.known, *self.milder))
        if not self.objects:
            return "-"
        if found is Severity.CRITICAL or self.score < 60:
            return "F"
        grade = next(letter for letter, least in (("A", 90), ("B", 80), ("C", 70), ("D", 0)) if self.score >= least)
        return "B" if grade == "A" and found is Severity.HIGH else grade


@dataclass(slots=True)
class Part:
    """What was found of some objects, in a form that is quick to send."""

    added: list[tuple[int, Check, str, str, str, int]] = field(default_factory=list)
    """Object, check, message, field path, container, line."""
    missed: list[tuple[int, str, str, bool, int]] = field(default_factory=list)
    """Object (-1: all), id of the check, reason, whether that is unusual, line."""
    unsound: list[int] = field(default_factory=list)
    """Objects that do not fit their schema."""
    passed: int = 0


InParts = Callable[[int, Callable[[int, int], Part]], Iterable[Part]]
"""Does a part of the work for each part of `range(count)`, in order."""


def whole(count: int, work: Callable[[int, int], Part]) -> Iterable[Part]:
    """All in one part, here."""
    return [work(0, count)]


@cache
def shipped_evaluator() -> tuple[Evaluator, Mapping[str, Check]]:
    """The shipped checks, compiled once a process, and what each policy's annotations say."""
    policies = shipped_policies()
    return Evaluator(policies, BLIND, sound=True), {policy.name: check_of(policy) for policy in policies}


def judge(items: Sequence[Item], options: Options | None = None, parts: InParts = whole) -> Report:
    """Judges objects together. Each tree needs apiVersion, kind and metadata. `parts` may share the work out."""
    chosen = options or Options()
    work = _Work(items, chosen)
    trees = effective((item.tree for item in items), chosen.namespace)
    known = {index: work.check_form(index) for index, item in enumerate(items) if item.tree["kind"] == "Namespace"}
    namespaces = {work.name(index): trees[index] for index, sound in known.items() if sound}
    alone = partial(work.alone, trees, namespaces)
    for part in parts(len(trees), alone):
        work.take(part)
    snapshot = Snapshot(trees, chosen.namespace, work.unsound)
    for cross in CROSS_CHECKS:
        work.check_across(cross, snapshot)
    return work.report()


def judge_one(tree: Obj, complete: Obj, labels: Mapping[str, str] | None, options: Options | None = None) -> Report:
    """The verdict of the checks of one object: `complete` is the tree with what its namespace adds, `labels` are those
    of the namespace."""
    work = _Work([Item(tree)], options or Options())
    work.check_form(0)
    work.check_object(0, Subject(complete, labels))
    return work.report()


@cache
def brief_evaluator() -> tuple[Evaluator, Mapping[str, Check]]:
    """The shipped checks without what a refusal or a warning does not say: places, and anything of low findings but
    that there are. Telling is half of the work, and this is done with every write."""
    policies = [_brief(policy) for policy in shipped_policies()]
    return Evaluator(policies, sound=True), {policy.name: check_of(policy) for policy in policies}


def _brief(policy: Policy) -> Policy:
    if check_of(policy).severity is Severity.LOW:
        return replace(
            policy, audit=(), validations=tuple(replace(rule, message_expression="") for rule in policy.validations)
        )
    named = all(_CONTAINERS in rule.message_expression for rule in policy.validations)
    return replace(policy, audit=()) if named else policy


def judge_admitted(complete: Obj, labels: Mapping[str, str] | None) -> tuple[list[Finding], list[str]]:
    """As `judge_one`, for an object whose form the API server checks, and briefly: findings with their containers but
    without places, low ones without either; and ids of checks that could not be evaluated."""
    evaluator, checks = brief_evaluator()
    verdict = evaluator.evaluate(Subject(complete, labels))
    ref = ref_of(complete)
    findings = [
        Finding(checks[violation.policy.name], ref, message, container)
        for violation in verdict.violations
        for container, message in _containers(violation)
    ]
    missed = [entry for entry in verdict.not_checked if not entry.reason.startswith("not evaluated")]
    return findings, [checks[entry.policy.name].id for entry in missed]


class _Work:
    """Gathers what is found, object by object."""

    def __init__(self, items: Sequence[Item], options: Options) -> None:
        self._items = items
        self._options = options
        self._custom = custom_kinds(item.tree for item in items)
        self._refs = [ref_of(item.tree) for item in items]
        self._part = Part()
        self._looked_at: set[int] = set()
        self._placed: dict[int, tuple[Violation, Iterable[tuple[str, str, str]]]] = {}
        """Of violations that are remembered, which are kept with it, so that no other gets their identity."""

    @property
    def unsound(self) -> Collection[int]:
        """Objects that do not fit their schema."""
        return set(self._part.unsound)

    def name(self, index: int) -> str:
        return self._refs[index].name

    def alone(self, trees: Sequence[Obj], namespaces: Mapping[str, Obj], start: int, end: int) -> Part:
        """What is found of objects without a look at others; `trees` are complete, `namespaces` by name."""
        before, self._part = self._part, Part()
        try:
            for index in range(start, end):
                if index not in self._looked_at:
                    self.check_form(index)
                space = self._refs[index].namespace or self._options.namespace
                namespace = namespaces.get(space)
                subject = Subject(trees[index], namespace and (value_at(namespace, "metadata.labels") or {}))
                self.check_object(index, subject)
                if self._options.own:
                    self.check_own(index, subject, space, namespace)
            return self._part
        finally:
            self._part = before

    def take(self, part: Part) -> None:
        """Adds what `alone` found."""
        mine = self._part
        mine.added += part.added
        mine.missed += part.missed
        mine.unsound += part.unsound
        mine.passed += part.passed

    def report(self) -> Report:
        found = sorted(self._part.added, key=lambda row: (row[0], -row[1].severity, row[1].id, row[3]))
        findings = tuple(
            Finding(check, self._refs[index], message, container, path, self._items[index].file, line, index)
            for index, check, message, path, container, line in found
        )
        missed = tuple(
            NotEvaluated(id, self._refs[index], reason, self._items[index].file, line, unusual)
            if index >= 0
            else NotEvaluated(id, None, reason)
            for index, id, reason, unusual, line in self._part.missed
        )
        return Report(findings, missed, len(self._items), self._part.passed)

    def check_form(self, index: int) -> bool:
        """Whether the object's values have the types they must, so that checks across objects can read it."""
        self._looked_at.add(index)
        found = form(self._items[index].tree, self._options.version, self._custom)
        for check, message, path in found.hits:
            self._add(index, check, message, path)
        if found.unknown:
            self._miss(index, "schema-error", f"{found.unknown}: checked only for what every object has", False)
        if not found.sound:
            self._part.unsound.append(index)
            self._miss(index, "all checks across objects", "it does not fit its schema", True)
        return found.sound

    def check_object(self, index: int, subject: Subject) -> None:
        evaluator, checks = shipped_evaluator()
        self._take(index, evaluator.evaluate(subject, self._options.params), checks, subject.tree)

    def check_own(self, index: int, subject: Subject, space: str, namespace: Obj | None) -> None:
        own = self._options.own
        self._take(index, own.evaluate(subject, self._options.params, space, namespace), own.by_policy, subject.tree)

    def _take(self, index: int, verdict: Verdict, checks: Mapping[str, Check], tree: Obj) -> None:
        self._part.passed += sum(WEIGHT[checks[policy.name].severity] for policy in verdict.passed)
        for violation in verdict.violations:
            for container, path, message in self.places_of(violation, tree):
                self._add(index, checks[violation.policy.name], message, path, container)
        for missed in verdict.not_checked:
            by_design = missed.reason.startswith("not evaluated")
            self._miss(index, checks[missed.policy.name].id, missed.reason, not by_design)

    def places_of(self, violation: Violation, tree: Obj) -> Iterable[tuple[str, str, str]]:
        if not violation.remembered:
            return places_of(violation, tree)
        known = self._placed.get(id(violation))
        if known is None:
            known = self._placed[id(violation)] = violation, tuple(places_of(violation, tree))
        return known[1]

    def check_across(self, cross: CrossCheck, snapshot: Snapshot) -> None:
        try:
            for hit in cross.find(snapshot):
                self._add(hit.entry.index, cross.check, hit.message, hit.field, hit.container)
        except (AttributeError, KeyError, TypeError, ValueError) as error:
            # An object without a published schema (a custom kind) may hold anything where a list is expected.
            reason = f"an object has another shape than its kind's: {error}"
            self._part.missed.append((-1, cross.check.id, reason, True, 0))

    def _add(self, index: int, check: Check, message: str, path: str, container: str = "") -> None:
        line = self._items[index].line_of(path)
        self._part.added.append((index, check, message, path, container, line))

    def _miss(self, index: int, check_id: str, reason: str, unusual: bool) -> None:
        self._part.missed.append((index, check_id, reason, unusual, self._items[index].line_of("")))


def _containers(violation: Violation) -> Iterable[tuple[str, str]]:
    """Container and message for each container a violation names."""
    message, _, named = violation.message.partition(_CONTAINERS)
    if named:
        return [(name, message) for name in named.removesuffix(")").split(", ")]
    fields = _listed(violation.audit.get("fields", ""))
    return [(_container_named(path), message) for path in fields] or [("", message)]


@lru_cache(4096)
def _named(path: str) -> re.Match[str] | None:
    return _NAMED.match(path)


def _container_named(path: str) -> str:
    match = _named(path)
    if match is None or match["list"].rpartition(".")[2] not in CONTAINER_FIELDS or match["name"].isdigit():
        return ""
    return match["name"]


def places_of(violation: Violation, tree: Obj) -> Iterable[tuple[str, str, str]]:
    """Container, field path and message for each place a violation names; one without a place if it names none."""
    containers = _listed(violation.audit.get("containers", ""))
    fields = [_by_index(path, tree) for path in _listed(violation.audit.get("fields", ""))]
    if containers and len(containers) == len(fields):
        message = violation.message.partition(" (containers: ")[0]
        return [(name, path, message) for name, path in zip(containers, fields)]
    if not fields:
        return [("", "", violation.message)]
    return [(_container_at(path, tree), path, violation.message) for path in fields]


def _listed(text: str) -> list[str]:
    return [part for part in text.split(",") if part]


def _by_index(path: str, tree: Obj) -> str:
    """`spec.containers[app].image` with the entry's number in place of its name."""
    match = _named(path)
    if match is None or match["name"].isdigit():
        return path
    entries = value_at(tree, match["list"])
    for index, entry in enumerate(entries if isinstance(entries, list) else ()):
        if isinstance(entry, dict) and entry.get("name") == match["name"]:
            return f"{match['before']}{match['list']}[{index}]{match['after']}".rstrip(".")
    return path


def _container_at(path: str, tree: Obj) -> str:
    match = _named(path)
    if match is None or match["list"].rpartition(".")[2] not in CONTAINER_FIELDS or not match["name"].isdigit():
        return ""
    entries, number = value_at(tree, match["list"]), int(match["name"])
    entry = entries[number] if isinstance(entries, list) and number < len(entries) else None
    return str(entry.get("name", "")) if isinstance(entry, dict) else ""


def from_severity(report: Report, least: Severity) -> Report:
    """The report that shows only findings of this severity and above."""
    shown = tuple(finding for finding in report.findings if finding.check.severity >= least)
    milder = tuple(finding for finding in report.findings if finding.check.severity < least)
    return replace(report, findings=shown, milder=(*report.milder, *milder))


def worst(findings: Iterable[Finding]) -> Severity | None:
    """The severity of the worst finding, None without any."""
    return max((finding.check.severity for finding in findings), default=None)


def by_object(findings: Iterable[Finding]) -> dict[Ref, list[Finding]]:
    """Findings grouped by object, in order."""
    grouped: dict[Ref, list[Finding]] = {}
    for finding in findings:
        grouped.setdefault(finding.ref, []).append(finding)
    return grouped
