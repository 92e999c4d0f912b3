"""What is wrong with the guard's own means, as findings besides lines in the log: files that people write for it, and
receivers of findings. Pure."""

from __future__ import annotations

from typing import Final

from pilothouse.guard.finding import Check, Finding, Ref, Severity
from pilothouse.guard.findings.model import Found, Report

SOURCE: Final = "files"
MISTAKEN: Final = Check(
    "guard-file-mistaken",
    "File of the guard that cannot be used",
    Severity.HIGH,
    "hygiene",
    "What it says is not heeded: owners stay those of the last good one, and nothing is sent on.",
    "# mend the line that is named; the file is read again within a minute",
)
UNTOLD: Final = Check(
    "receiver-not-told",
    "Receiver that is not told of findings",
    Severity.HIGH,
    "hygiene",
    "Whoever reads there believes that nothing is wrong.",
    "# see the answer; D/forward.yaml names the receiver, its address and its token's file",
)
_ABOUT: Final = Ref("v1", "Namespace", "", "kube-system")


def report_on(file: str, problem: str) -> Report:
    """What there is to say of a file: that it is in order when there is no problem."""
    return Report(SOURCE, file, (Found(Finding(MISTAKEN, _ABOUT, problem)),) if problem else ())


def report_on_receiver(subject: str, problem: str) -> Report:
    """What there is to say of a receiver."""
    return Report(SOURCE, subject, (Found(Finding(UNTOLD, _ABOUT, problem)),) if problem else ())
