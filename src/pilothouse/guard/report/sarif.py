"""SARIF 2.1.0, which code scanning of GitHub and others reads.

Source: OASIS, "Static Analysis Results Interchange Format Version 2.1.0". An object's identity is the
`fullyQualifiedName` of a logical location, beside the physical one with file and line.
"""

from __future__ import annotations

from typing import Any
from urllib.parse import quote

import msgspec

from pilothouse import __version__
from pilothouse.guard.finding import Check, Finding, Severity
from pilothouse.guard.judge import Accepted
from pilothouse.guard.report.document import Outcome, acceptance, sentence, written_at

_SCHEMA = "https://json.schemastore.org/sarif-2.1.0.json"
_LEVEL = {Severity.CRITICAL: "error", Severity.HIGH: "error", Severity.MEDIUM: "warning", Severity.LOW: "note"}
_SCORE = {Severity.CRITICAL: "9.5", Severity.HIGH: "8.0", Severity.MEDIUM: "5.0", Severity.LOW: "2.0"}
"""GitHub sorts by `security-severity`, on the scale of CVSS."""


def sarif(outcome: Outcome) -> str:
    """The outcome as one SARIF run."""
    accepted = outcome.report.accepted
    found = (*outcome.report.findings, *(entry.finding for entry in accepted))
    rules = {finding.check.id: finding.check for finding in found}
    numbers = {check_id: index for index, check_id in enumerate(rules)}
    driver = {"name": "pilothouse", "version": __version__, "rules": [_rule(check) for check in rules.values()]}
    run = {
        "tool": {"driver": driver},
        "invocations": [
            {"executionSuccessful": not outcome.incomplete, "toolExecutionNotifications": _notifications(outcome)}
        ],
        "results": [
            *(_result(finding, numbers[finding.check.id]) for finding in outcome.report.findings),
            *(_suppressed(entry, numbers[entry.finding.check.id]) for entry in accepted),
        ],
    }
    tree = {"$schema": _SCHEMA, "version": "2.1.0", "runs": [run]}
    return msgspec.json.format(msgspec.json.encode(tree), indent=2).decode() + "\n"


def _rule(check: Check) -> dict[str, Any]:
    return {
        "id": check.id,
        "shortDescription": {"text": check.title},
        "fullDescription": {"text": check.why},
        "help": {
            "text": f"{check.why}\n\n{check.remedy}",
            "markdown": f"{check.why}\n\n```yaml\n{check.remedy}\n```",
        },
        "defaultConfiguration": {"level": _LEVEL[check.severity]},
        "properties": {"tags": [check.category, str(check.severity)], "security-severity": _SCORE[check.severity]},
    }


def _result(finding: Finding, rule: int) -> dict[str, Any]:
    location: dict[str, Any] = {"logicalLocations": _logical(finding)}
    if finding.file:
        location["physicalLocation"] = _physical(finding.file, finding.line)
    return {
        "ruleId": finding.check.id,
        "ruleIndex": rule,
        "level": _LEVEL[finding.check.severity],
        "message": {"text": f"{finding.ref}: {sentence(finding)}"},
        "locations": [location],
        "partialFingerprints": {"pilothouse/v1": finding.fingerprint},
        "properties": {
            "severity": str(finding.check.severity),
            "object": str(finding.ref),
            "container": finding.container,
            "field": finding.field,
        },
    }


def _suppressed(accepted: Accepted, rule: int) -> dict[str, Any]:
    """A result that somebody accepts: `inSource` where it is written beside what it is about."""
    suppression: dict[str, Any] = {
        "kind": "external" if accepted.how == "exemption" else "inSource",
        "status": "accepted",
        "justification": acceptance(accepted),
    }
    if accepted.file:
        suppression["location"] = {"physicalLocation": _physical(accepted.file, accepted.line)}
    return {**_result(accepted.finding, rule), "suppressions": [suppression]}


def _logical(finding: Finding) -> list[dict[str, str]]:
    name = str(finding.ref)
    found = [{"name": finding.ref.name, "fullyQualifiedName": name, "kind": "resource"}]
    if finding.container:
        entry = {"name": finding.container, "fullyQualifiedName": f"{name}/{finding.container}", "kind": "container"}
        found.append(entry)
    if finding.field:
        entry = {"name": finding.field, "fullyQualifiedName": f"{name}#{finding.field}", "kind": "member"}
        found.append(entry)
    return found


def _physical(file: str, line: int) -> dict[str, Any]:
    file, line = written_at(file, line)
    found: dict[str, Any] = {"artifactLocation": {"uri": quote(file.strip("<>"))}}
    if line:
        found["region"] = {"startLine": line}
    return found


def _notifications(outcome: Outcome) -> list[dict[str, Any]]:
    unread = [(entry.message, entry.file, entry.line, "error") for entry in outcome.unread]
    missed = [
        (f"{entry.check_id} for {entry.ref}: {entry.reason}", entry.file, entry.line, level)
        for entry in outcome.report.not_evaluated
        for level in ("error" if entry.unusual else "note",)
    ]
    return [
        {
            "level": level,
            "message": {"text": message},
            **({"locations": [{"physicalLocation": _physical(file, line)}]} if file else {}),
        }
        for message, file, line, level in (*unread, *missed)
    ]
