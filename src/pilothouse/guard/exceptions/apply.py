"""Applies exceptions to what was found; an exception that does not count is a finding of its own. Pure."""

from __future__ import annotations

import datetime as dt
import difflib
from collections import defaultdict
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass, replace

from pilothouse.guard.exceptions.checks import EXPIRED, INVALID, UNKNOWN, UNUSED
from pilothouse.guard.exceptions.written import Written, ended, written
from pilothouse.guard.exemptions.accept import in_force, means
from pilothouse.guard.finding import Check, Finding, Item, Ref, ref_of
from pilothouse.guard.judge import Accepted, Report
from pilothouse.guard.podspec import value_at
from pilothouse.guard.snapshot import labels_of


@dataclass(frozen=True, slots=True)
class Rules:
    """`known` are ids of checks. In a live cluster (`live`) only Exemptions that were granted count, since whoever may
    write an object may annotate it. `namespace` is that of objects which name none."""

    known: Collection[str]
    now: dt.datetime
    live: bool = False
    namespace: str = "default"


def with_exceptions(report: Report, items: Sequence[Item], rules: Rules) -> Report:
    """The report with accepted findings set apart, and findings about exceptions added."""
    found = written(items, rules.now, rules.namespace)
    declared = [one for one in found if not rules.live or one.exemption is not None]
    if not declared:
        return report
    valid: dict[int, list[Written]] = defaultdict(list)
    for one in declared:
        if _counts(one, rules):
            valid[-1 if one.exemption is not None else one.item].append(one)
    used: set[int] = set()
    kept: list[Finding] = []
    accepted: list[Accepted] = []
    for finding in report.findings:
        candidates = (*valid.get(finding.item, ()), *valid.get(-1, ()))
        by = next((one for one in candidates if _accepts(one, finding, items, rules)), None)
        if by is None:
            kept.append(finding)
            continue
        used.add(id(by))
        accepted.append(Accepted(finding, by.reason, by.owner, by.expires, by.how, items[by.item].file, by.line))
    unanswered = {(entry.check_id, entry.ref) for entry in report.not_evaluated}
    for one in declared if not rules.live else ():
        ref = ref_of(items[one.item].tree)
        unasked = any((check, ref) in unanswered or (check, None) in unanswered for check in one.checks)
        for check, said in _told(one, rules, unused=id(one) not in used and not unasked):
            kept.append(Finding(check, ref, said, "", one.field, items[one.item].file, one.line, one.item))
    kept.sort(key=lambda finding: (finding.item, -finding.check.severity, finding.check.id, finding.field))
    return replace(report, findings=tuple(kept), accepted=tuple(accepted))


def _counts(one: Written, rules: Rules) -> bool:
    if one.wrong or ended(one.expires, rules.now):
        return False
    return not rules.live or (one.exemption is not None and in_force(one.exemption, rules.now))


def _accepts(one: Written, finding: Finding, items: Sequence[Item], rules: Rules) -> bool:
    if one.exemption is not None:
        labels = labels_of(value_at(items[finding.item].tree, "metadata.labels"))
        return means(one.exemption, replace(finding, ref=_placed(finding.ref, rules.namespace)), labels)
    if finding.check.id not in one.checks:
        return False
    if one.containers and finding.container not in one.containers:
        return False
    return not one.first or one.first <= finding.line <= one.last


def _placed(ref: Ref, namespace: str) -> Ref:
    """The reference with the namespace that the object goes to."""
    from pilothouse.kinds.catalogue import by_kind  # late: it knows every kind, and few manifests hold an Exemption

    group, _, version = ref.api_version.rpartition("/")
    kind = by_kind(group, version, ref.kind)
    if ref.namespace or (kind is not None and not kind.resource.namespaced):
        return ref
    return ref._replace(namespace=namespace)


def _told(one: Written, rules: Rules, *, unused: bool) -> Iterator[tuple[Check, str]]:
    """What is to be said of an exception."""
    name = f"the exception for {', '.join(one.checks)}" if one.checks else "an exception"
    unknown = [check for check in one.checks if check not in rules.known and (check != "*" or not one.exemption)]
    if one.wrong:
        yield INVALID, f"{name} does not count: {one.wrong}"
        return
    for check in unknown:
        near = difflib.get_close_matches(check, rules.known, n=1)
        yield UNKNOWN, f"there is no check {check}{f'; did you mean {near[0]}?' if near else ''}"
    if ended(one.expires, rules.now):
        yield EXPIRED, f"{name} ended on {one.expires}"
    elif unused and len(unknown) < len(one.checks):
        yield UNUSED, f"{name} accepts nothing"
