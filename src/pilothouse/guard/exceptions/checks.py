"""What is found about exceptions themselves."""

from __future__ import annotations

from typing import Final

from pilothouse.guard.finding import Check, Severity

_FORM = '# pilothouse:accept CHECK reason="why it must be so" owner=TEAM expires=2027-03-31'


def _check(name: str, title: str, severity: Severity, why: str, remedy: str) -> Check:
    return Check(f"exception-{name}", title, severity, "hygiene", why, remedy)


INVALID: Final = _check(
    "invalid",
    "Exception that does not count",
    Severity.MEDIUM,
    "Without reason, owner and end nobody can tell later whether it is still right; so it accepts nothing.",
    _FORM,
)
UNKNOWN: Final = _check(
    "unknown", "Exception from a check there is not", Severity.MEDIUM, "What it was to accept is still found.", _FORM
)
EXPIRED: Final = _check(
    "expired",
    "Exception that has ended",
    Severity.MEDIUM,
    "What it accepted is open again, and nobody has looked at it since.",
    "# mend what it was about, or say anew why it must be so, and until when",
)
UNUSED: Final = _check(
    "unused",
    "Exception that accepts nothing",
    Severity.LOW,
    "It waits for a mistake that it will hide.",
    "# delete it",
)
EXCEPTION_CHECKS: Final = (INVALID, UNKNOWN, EXPIRED, UNUSED)
