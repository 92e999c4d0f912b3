"""CSV for spreadsheets, Markdown for comments and wikis."""

from __future__ import annotations

import csv
import io

from pilothouse.guard.finding import Finding
from pilothouse.guard.judge import Accepted
from pilothouse.guard.report.document import Outcome, acceptance, place_of, sentence

_COLUMNS = ("severity", "id", "object", "container", "field", "message", "file", "line", "why", "standards")


def csv_text(outcome: Outcome) -> str:
    """A row a finding, then a row for each that is accepted (severity `accepted`), and for each thing that was not read
    or not evaluated (severity `not-checked`)."""
    buffer = io.StringIO()
    writer = csv.writer(buffer, lineterminator="\n")
    writer.writerow(_COLUMNS)
    rows = [_row(str(finding.check.severity), finding, finding.check.why) for finding in outcome.report.findings]
    rows += [_row("accepted", entry.finding, acceptance(entry)) for entry in outcome.report.accepted]
    rows += [("not-checked", "", "", "", "", e.message, e.file, e.line or "", "", "") for e in outcome.unread]
    rows += [
        ("not-checked" if e.unusual else "not-evaluated", e.check_id, e.ref, "", "", e.reason, e.file, e.line, "", "")
        for e in outcome.report.not_evaluated
    ]
    for row in rows:
        writer.writerow([_safe(str(value)) for value in row])
    return buffer.getvalue()


def _row(severity: str, finding: Finding, why: str) -> tuple[object, ...]:
    check = finding.check
    place = (finding.ref, finding.container, finding.field, finding.message, finding.file, finding.line or "")
    return (severity, check.id, *place, why, check.standards)


def markdown(outcome: Outcome) -> str:
    """A summary, a table of findings, a list of what was not checked."""
    report = outcome.report
    counts = ", ".join(f"{number} {name}" for name, number in outcome.counts().items())
    head = f"## Pilothouse check: grade {report.grade}, score {report.score}\n\n{report.objects} objects: {counts}\n"
    lines = [head]
    if report.findings:
        lines.append("\n| severity | object | what is wrong | where | check |\n|---|---|---|---|---|\n")
    for finding in report.findings:
        field = f" `{finding.field}`" if finding.field else ""
        cells = (
            str(finding.check.severity),
            str(finding.ref),
            sentence(finding),
            f"{place_of(finding)}{field}",
            finding.check.id,
        )
        lines.append("| " + " | ".join(_cell(cell) for cell in cells) + " |\n")
    if report.accepted:
        lines.append("\nAccepted:\n\n")
        lines += [f"- {_cell(_accepted(entry))}\n" for entry in report.accepted]
    missed = [f"{e.file}{f':{e.line}' if e.line else ''}: {e.message}" for e in outcome.unread]
    missed += [f"{e.ref}: {e.check_id}: {e.reason}" for e in report.not_evaluated]
    if outcome.passed_over:
        lines.append(f"\nPassed over, without objects: {len(outcome.passed_over)} files or folders.\n")
    if missed:
        lines.append("\nNot checked:\n\n")
        lines += [f"- {_cell(entry)}\n" for entry in missed]
    return "".join(lines)


def _accepted(entry: Accepted) -> str:
    finding = entry.finding
    return f"{finding.ref}: {finding.check.id}: {sentence(finding)}; {acceptance(entry)}"


def _cell(text: str) -> str:
    return text.replace("\\", "\\\\").replace("|", "\\|").replace("\n", " ").replace("<", "&lt;")


def _safe(text: str) -> str:
    """A cell that no spreadsheet takes for a formula."""
    return "'" + text if text[:1] in ("=", "+", "-", "@") else text
