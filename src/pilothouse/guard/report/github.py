"""Workflow commands of GitHub Actions, which it shows beside the lines of a pull request.

Source: GitHub documentation, "Workflow commands for GitHub Actions".
"""

from __future__ import annotations

from pilothouse.guard.finding import Severity
from pilothouse.guard.report.document import Outcome, acceptance, sentence, written_at

_COMMAND = {Severity.CRITICAL: "error", Severity.HIGH: "error", Severity.MEDIUM: "warning", Severity.LOW: "notice"}


def github(outcome: Outcome) -> str:
    """One command a line."""
    lines = [_command("error", entry.file, entry.line, "not read", entry.message) for entry in outcome.unread]
    for finding in outcome.report.findings:
        field = f" ({finding.field})" if finding.field else ""
        message = f"{finding.ref}: {sentence(finding)}{field}. {finding.check.why}"
        command = _COMMAND[finding.check.severity]
        lines.append(_command(command, finding.file, finding.line, finding.check.id, message))
    for accepted in outcome.report.accepted:
        finding = accepted.finding
        message = f"{finding.ref}: {sentence(finding)}. {acceptance(accepted)}"
        lines.append(_command("notice", finding.file, finding.line, finding.check.id, message))
    for missed in outcome.report.not_evaluated:
        command = "error" if missed.unusual else "notice"
        message = f"{missed.ref}: {missed.check_id}: {missed.reason}"
        lines.append(_command(command, missed.file, missed.line, "not evaluated", message))
    return "".join(line + "\n" for line in lines)


def _command(name: str, file: str, line: int, title: str, message: str) -> str:
    file, line = written_at(file, line)
    parameters = [f"file={_parameter(file)}"] if file else []
    if line:
        parameters.append(f"line={line}")
    parameters.append(f"title={_parameter(title)}")
    return f"::{name} {','.join(parameters)}::{_data(message)}"


def _data(text: str) -> str:
    return text.replace("%", "%25").replace("\r", "%0D").replace("\n", "%0A")


def _parameter(text: str) -> str:
    return _data(text).replace(":", "%3A").replace(",", "%2C")
