"""The report people read: grouped by object, worst first; why and remedy at a check's first appearance."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from pilothouse.guard.exceptions.checks import EXCEPTION_CHECKS
from pilothouse.guard.finding import Check, Finding
from pilothouse.guard.judge import by_object
from pilothouse.guard.report.document import Outcome, acceptance, place_of, sentence

Paint = Callable[[str, str], str]
"""Colours a text by the name of a style: a severity, `dim` or `title`."""

_WIDTH: Final = 9


def plain(text: str, style: str) -> str:
    """No colours."""
    return text


def text_report(outcome: Outcome, paint: Paint = plain) -> str:
    """The report as lines of text."""
    lines: list[str] = []
    told: set[str] = set()
    for ref, findings in by_object(outcome.report.findings).items():
        file = f"  {findings[0].file}" if findings[0].file else ""
        lines.append(paint(printable(str(ref)), "title") + paint(printable(file), "dim"))
        for finding in findings:
            lines += _finding(finding, finding.check.id not in told, paint)
            told.add(finding.check.id)
        lines.append("")
    lines += _accepted(outcome, paint)
    lines += _missed(outcome, paint)
    lines.append(_summary(outcome))
    if outcome.report.findings:
        lines.append(paint("All about a check, and how to accept a finding: pilothouse check --explain ID", "dim"))
    return "\n".join(lines) + "\n"


def explanation(check: Check) -> str:
    """All there is to say about a check."""
    remedy = "\n".join("    " + line for line in check.remedy.split("\n"))
    lines = [f"{check.id}: {check.title}", f"  {check.severity}, {check.category}", "", f"  {check.why}", ""]
    lines += ["  How to mend it:", "", remedy, ""]
    if check.standards:
        lines.append(f"  Asked for by: {check.standards}")
    if check.other_names:
        lines.append(f"  Other tools call it: {check.other_names}")
    if check not in EXCEPTION_CHECKS:
        form = f'# pilothouse:accept {check.id} reason="why it must be so" owner=TEAM expires=2027-03-31'
        lines += ["", "  To accept it in a file, above the object or line concerned:", "", f"    {form}"]
    return "\n".join(lines).rstrip() + "\n"


def _finding(finding: Finding, first: bool, paint: Paint) -> list[str]:
    severity = f"{finding.check.severity!s:<{_WIDTH}}"
    lines = [f"  {paint(severity, str(finding.check.severity))}{printable(sentence(finding))}  [{finding.check.id}]"]
    pad = " " * (_WIDTH + 2)
    lines.append(paint(printable(f"{pad}{place_of(finding)}  {finding.field}".rstrip()), "dim"))
    if first:
        lines.append(f"{pad}{finding.check.why}")
        lines += [f"{pad}  {line}" for line in finding.check.remedy.split("\n")]
    return lines


def _accepted(outcome: Outcome, paint: Paint) -> list[str]:
    lines = []
    for entry in outcome.report.accepted:
        finding = entry.finding
        lines.append(printable(f"{finding.ref}: {sentence(finding)}  [{finding.check.id}]"))
        lines.append(printable(f"  {acceptance(entry)}"))
    return [*(paint(line, "dim") for line in lines), ""] if lines else []


def _missed(outcome: Outcome, paint: Paint) -> list[str]:
    lines = [
        paint(printable(f"not read: {entry.file}{f':{entry.line}' if entry.line else ''}: {entry.message}"), "high")
        for entry in outcome.unread
    ]
    errors: dict[tuple[str, str], list[str]] = {}
    by_design: dict[tuple[str, str], list[str]] = {}
    for entry in outcome.report.not_evaluated:
        if entry.unusual:
            errors.setdefault((str(entry.ref or ""), entry.reason), []).append(entry.check_id)
        else:
            by_design.setdefault((entry.check_id, entry.reason), []).append(str(entry.ref))
    for (ref, reason), ids in errors.items():
        lines.append(paint(printable(f"not checked: {ref or 'objects together'}: {reason} ({_shown(ids)})"), "high"))
    for (check_id, reason), refs in by_design.items():
        lines.append(paint(printable(f"{check_id}: {reason} ({_shown(refs)})"), "dim"))
    if outcome.passed_over:
        files = _shown([*outcome.passed_over])
        lines.append(paint(printable(f"passed over, since there are no objects in it: {files}"), "dim"))
    return [*lines, ""] if lines else []


def printable(text: str) -> str:
    """On one line and without control characters, which a manifest could send to the terminal."""
    return "".join(character if character.isprintable() else " " for character in text)


def _shown(names: list[str]) -> str:
    return ", ".join(names[:2]) + (f" and {len(names) - 2} more" if len(names) > 2 else "")


def _summary(outcome: Outcome) -> str:
    report = outcome.report
    counts = ", ".join(f"{number} {name}" for name, number in outcome.counts().items())
    known = f" ({len(report.known)} known before, not shown)" if report.known else ""
    known += f" ({len(report.milder)} less severe, not shown)" if report.milder else ""
    accepted = f", {len(report.accepted)} accepted" if report.accepted else ""
    objects = "1 object" if report.objects == 1 else f"{report.objects} objects"
    incomplete = "; not everything could be checked" if outcome.incomplete else ""
    return f"{objects}: {counts}{accepted}{known}. Score {report.score}, grade {report.grade}{incomplete}."
