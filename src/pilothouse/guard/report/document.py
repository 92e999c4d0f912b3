"""What a report says, however it is written: findings, what was not evaluated, what could not be read."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import Any

from pilothouse.guard.finding import RENDERED, Check, Finding, NotEvaluated, Ref, Severity
from pilothouse.guard.judge import Accepted, Report


@dataclass(frozen=True, slots=True)
class Unread:
    """Something that could not be read, so that nothing is known of it; `line` is 0 when unknown."""

    file: str
    message: str
    line: int = 0


@dataclass(frozen=True, slots=True)
class Outcome:
    """One run: the report, what could not be read, and files that were passed over since they hold no objects."""

    report: Report
    unread: tuple[Unread, ...] = ()
    passed_over: tuple[str, ...] = ()

    @property
    def incomplete(self) -> bool:
        """Something could not be read or checked, other than by design."""
        return bool(self.unread) or any(entry.unusual for entry in self.report.not_evaluated)

    def counts(self) -> dict[str, int]:
        """Number of findings by severity, worst first."""
        found = Counter(finding.check.severity for finding in self.report.findings)
        return {str(severity): found[severity] for severity in sorted(Severity, reverse=True)}


def written_at(file: str, line: int) -> tuple[str, int]:
    """File and line as programs that show code need them: of what is rendered, the file it is made from, without a
    line."""
    return (file.removesuffix(RENDERED), 0) if file.endswith(RENDERED) else (file, line)


def place_of(finding: Finding) -> str:
    """`file:line`, or what is known of it."""
    return f"{finding.file}:{finding.line}" if finding.line else finding.file


def sentence(finding: Finding) -> str:
    """What is wrong, with the container's name."""
    return f"container {finding.container} {finding.message}" if finding.container else finding.message


def acceptance(accepted: Accepted) -> str:
    """Why a finding is accepted, by whom, until when and where that is written."""
    place = f"{accepted.file}:{accepted.line}" if accepted.line else accepted.file
    written = f"; {accepted.how}{f' at {place}' if place else ''}"
    return f"accepted: {accepted.reason} ({accepted.owner}, until {accepted.expires}{written})"


def document(outcome: Outcome, findings: bool = True) -> dict[str, Any]:
    """The whole outcome as a tree, if need be without `findings`; also the form a later run takes as its baseline."""
    report = outcome.report
    return {
        "kind": "PilothouseCheckReport",
        "version": 1,
        "objects": report.objects,
        "score": report.score,
        "grade": report.grade,
        "counts": outcome.counts(),
        "known": len(report.known),
        "milder": len(report.milder),
        "complete": not outcome.incomplete,
        "findings": [_finding(finding) for finding in report.findings] if findings else [],
        "accepted": [_accepted(accepted) for accepted in report.accepted],
        "notEvaluated": [_missed(entry) for entry in report.not_evaluated],
        "unread": [{"file": entry.file, "line": entry.line, "message": entry.message} for entry in outcome.unread],
        "passedOver": list(outcome.passed_over),
    }


def about_check(check: Check) -> tuple[dict[str, str], dict[str, str]]:
    """What a finding says of its check, before and after what it says of itself."""
    before = {"id": check.id, "severity": str(check.severity), "category": check.category, "title": check.title}
    after = {
        "why": check.why,
        "remedy": check.remedy,
        "standards": check.standards,
        "otherNames": check.other_names,
    }
    return before, after


def about_object(ref: Ref) -> dict[str, str]:
    """What a finding says of its object."""
    return {
        "object": str(ref),
        "apiVersion": ref.api_version,
        "kind": ref.kind,
        "namespace": ref.namespace,
        "name": ref.name,
    }


def _finding(finding: Finding) -> dict[str, Any]:
    before, after = about_check(finding.check)
    return {
        **before,
        "message": finding.message,
        **about_object(finding.ref),
        "container": finding.container,
        "field": finding.field,
        "file": finding.file,
        "line": finding.line,
        **after,
        "fingerprint": finding.fingerprint,
    }


def _accepted(accepted: Accepted) -> dict[str, Any]:
    names = ("reason", "owner", "expires", "how", "file", "line")
    return {**_finding(accepted.finding), "exception": {name: getattr(accepted, name) for name in names}}


def _missed(entry: NotEvaluated) -> dict[str, Any]:
    return {
        "id": entry.check_id,
        "object": str(entry.ref) if entry.ref else "",
        "reason": entry.reason,
        "byDesign": not entry.unusual,
        "file": entry.file,
        "line": entry.line,
    }
