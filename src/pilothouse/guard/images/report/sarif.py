"""SARIF 2.1.0. Source: OASIS, "Static Analysis Results Interchange Format Version 2.1.0"."""

from __future__ import annotations

from typing import Any
from urllib.parse import quote

import msgspec

from pilothouse import __version__
from pilothouse.guard.images.match.flaw import Flaw, remedy
from pilothouse.guard.images.match.weakness import Weakness
from pilothouse.guard.images.report.document import ScanOutcome, Subject, fingerprint, weakness_fingerprint

_SCHEMA = "https://json.schemastore.org/sarif-2.1.0.json"
_LEVEL = {"critical": "error", "high": "error", "medium": "warning", "unknown": "warning"}
_SCORE = {"critical": "9.5", "high": "8.0", "medium": "5.0", "unknown": "4.0", "low": "2.0", "negligible": "0.1"}
"""GitHub sorts by `security-severity`, on the scale of CVSS."""


def sarif(outcome: ScanOutcome) -> str:
    """The outcome as one SARIF run; a rule is a flaw."""
    rules: dict[str, dict[str, Any]] = {}
    results = []
    for subject in outcome.subjects:
        for flaw in subject.flaws:
            rules.setdefault(flaw.id, _rule(flaw))
            results.append(_result(flaw, subject))
        for entry in subject.weaknesses:
            rules.setdefault(entry.check.id, _weakness_rule(entry))
            results.append(_weakness(entry, subject))
    numbers = {name: number for number, name in enumerate(rules)}
    for result in results:
        result["ruleIndex"] = numbers[result["ruleId"]]
    missed = [f"{name}: {reason}" for name, reason in outcome.unread]
    missed += [f"{s.name}: not scanned: {reason}" for s in outcome.subjects for reason in s.result.not_scanned]
    run = {
        "tool": {"driver": {"name": "pilothouse", "version": __version__, "rules": list(rules.values())}},
        "invocations": [
            {
                "executionSuccessful": not missed,
                "toolExecutionNotifications": [{"level": "error", "message": {"text": text}} for text in missed],
            }
        ],
        "results": results,
    }
    tree = {"$schema": _SCHEMA, "version": "2.1.0", "runs": [run]}
    return msgspec.json.format(msgspec.json.encode(tree), indent=2).decode() + "\n"


def _rule(flaw: Flaw) -> dict[str, Any]:
    score = f"{flaw.score:.1f}" if flaw.score else _SCORE[flaw.severity]
    rule: dict[str, Any] = {
        "id": flaw.id,
        "shortDescription": {"text": f"{flaw.id} in {flaw.package}"},
        "fullDescription": {"text": flaw.summary or flaw.id},
        "help": {"text": remedy(flaw)},
        "defaultConfiguration": {"level": _LEVEL.get(flaw.severity, "note")},
        "properties": {"tags": ["vulnerability", flaw.severity], "security-severity": score},
    }
    if flaw.references:
        rule["helpUri"] = flaw.references[0]
    return rule


def _result(flaw: Flaw, subject: Subject) -> dict[str, Any]:
    fix = f"fixed in {flaw.fixed}" if flaw.fixed else flaw.reason or flaw.state
    return {
        "ruleId": flaw.id,
        "level": _LEVEL.get(flaw.severity, "note"),
        "message": {"text": f"{flaw.package} {flaw.version}: {flaw.id} ({flaw.severity}; {fix})"},
        "locations": [_location(subject, flaw.paths[0] if flaw.paths else "")],
        "partialFingerprints": {"pilothouse/v1": fingerprint(flaw)},
        "properties": {"severity": flaw.severity, "fixedVersion": flaw.fixed, "knownExploited": flaw.kev},
    }


def _weakness_rule(entry: Weakness) -> dict[str, Any]:
    rating = str(entry.check.severity)
    return {
        "id": entry.check.id,
        "shortDescription": {"text": entry.check.title},
        "fullDescription": {"text": entry.check.why},
        "help": {"text": entry.check.remedy},
        "defaultConfiguration": {"level": _LEVEL.get(rating, "note")},
        "properties": {"tags": ["security", rating], "security-severity": _SCORE[rating]},
    }


def _weakness(entry: Weakness, subject: Subject) -> dict[str, Any]:
    return {
        "ruleId": entry.check.id,
        "level": _LEVEL.get(str(entry.check.severity), "note"),
        "message": {"text": entry.message},
        "locations": [_location(subject, entry.path)],
        "partialFingerprints": {"pilothouse/v1": weakness_fingerprint(entry)},
        "properties": {"severity": str(entry.check.severity)},
    }


def _location(subject: Subject, path: str) -> dict[str, Any]:
    place = path or subject.name
    return {
        "physicalLocation": {"artifactLocation": {"uri": quote(place)}, "region": {"startLine": 1}},
        "logicalLocations": [{"name": subject.name, "kind": "module"}],
    }
