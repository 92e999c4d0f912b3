"""PolicyReport objects, for dashboards that read those: one a namespace, and one for what is in none.

Source: `wgpolicyk8s.io/v1alpha2` of the Kubernetes Policy working group.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from pilothouse.guard.finding import Check, Finding, Ref, Severity
from pilothouse.guard.policy_reports.format import ERROR, OWN_NAME, POLICY_REPORTS, SKIP
from pilothouse.guard.policy_reports.write import MOST_RESULTS, Entry, by_namespace, report_object
from pilothouse.guard.report.document import Outcome, acceptance
from pilothouse.guard.yaml_documents import yaml_documents
from pilothouse.machinery.objects import Obj

_VERSION = "v1alpha2"
_NAME = f"{OWN_NAME}-check"
"""Another name than the engine's own reports have, so that applying these leaves those alone."""


def policyreport(outcome: Outcome) -> str:
    """The outcome as YAML documents; what could not be read or checked is a result `error`."""
    entries = [Entry(finding) for finding in outcome.report.findings]
    entries += [
        Entry(replace(accepted.finding, message=f"{accepted.finding.message}; {acceptance(accepted)}"), SKIP)
        for accepted in outcome.report.accepted
    ]
    entries += [
        Entry(_unchecked(missed.check_id, missed.reason, missed.ref, missed.file, missed.line), ERROR)
        for missed in outcome.report.not_evaluated
        if missed.unusual
    ]
    entries += [
        Entry(_unchecked("not-read", unread.message, None, unread.file, unread.line), ERROR)
        for unread in outcome.unread
    ]
    found = by_namespace(entries) or {"": []}
    objects = [tree for namespace, of in sorted(found.items()) for tree in _objects(namespace, of)]
    return yaml_documents(objects)


def _objects(namespace: str, entries: list[Entry]) -> Iterator[Obj]:
    """As many as it takes, each small enough for a store."""
    for at in range(0, max(len(entries), 1), MOST_RESULTS):
        name = f"{_NAME}-{at // MOST_RESULTS + 1}" if at else _NAME
        yield report_object(namespace, entries[at : at + MOST_RESULTS], POLICY_REPORTS, _VERSION, name=name)


def _unchecked(check_id: str, reason: str, ref: Ref | None, file: str, line: int) -> Finding:
    check = Check(check_id, "Not checked", Severity.MEDIUM, "hygiene", "What was not checked may be wrong.", "")
    return Finding(check, ref or Ref("", "", "", ""), reason, "", "", file, line)
