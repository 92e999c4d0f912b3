"""GitLab's code quality report, which it shows beside the lines of a merge request.

Source: GitLab documentation, "Code Quality report format". It has no place for objects without a file; those, and what
was not checked, are issues of the file `.`, so that nothing is lost.
"""

from __future__ import annotations

from typing import Any

import msgspec

from pilothouse.guard.finding import Severity
from pilothouse.guard.report.document import Outcome, sentence, written_at

_SEVERITY = {Severity.CRITICAL: "blocker", Severity.HIGH: "critical", Severity.MEDIUM: "major", Severity.LOW: "minor"}


def gitlab(outcome: Outcome) -> str:
    """A list of issues. Findings alike in one object are told apart by a number, since GitLab shows each fingerprint
    once."""
    seen: dict[str, int] = {}
    issues = []
    for finding in outcome.report.findings:
        number = seen[finding.fingerprint] = seen.get(finding.fingerprint, 0) + 1
        said = f"{finding.ref}: {sentence(finding)}{f' ({finding.field})' if finding.field else ''}"
        fingerprint = finding.fingerprint if number == 1 else f"{finding.fingerprint}-{number}"
        issues.append(_issue(finding.check.id, said, fingerprint, finding.file, finding.line))
        issues[-1]["severity"] = _SEVERITY[finding.check.severity]
    for entry in outcome.unread:
        issues.append(_issue("not-read", f"not read: {entry.message}", f"unread:{entry}", entry.file, entry.line))
    for missed in outcome.report.not_evaluated:
        if missed.unusual:
            said = f"{missed.ref}: not checked: {missed.reason}"
            issues.append(_issue(missed.check_id, said, f"missed:{missed.check_id}:{said}", missed.file, missed.line))
    return msgspec.json.format(msgspec.json.encode(issues), indent=2).decode() + "\n"


def _issue(check: str, said: str, fingerprint: str, file: str, line: int) -> dict[str, Any]:
    file, line = written_at(file, line)
    location = {"path": file.strip("<>").removeprefix("./") or ".", "lines": {"begin": max(line, 1)}}
    found = {"check_name": check, "description": said, "fingerprint": fingerprint, "severity": "blocker"}
    return {**found, "location": location}
