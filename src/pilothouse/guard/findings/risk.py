"""How pressing a finding is: one number, so that lists, columns and the page have the same order. Pure.

Its four digits are, what weighs most first: known to be exploited (0, 1), likelihood of that (0 to 3, by EPSS),
exposure (0 to 5), severity (1 low to 4 critical). What a source knows of the first three it says in the evidence:
`known-exploited`, `epss` and `exposure-level`. Sources: CISA's KEV catalogue; FIRST's EPSS, a probability of
exploitation within 30 days.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from pilothouse.guard.finding import Severity

ADVISORIES: Final = "advisories"
"""Evidence that only findings about vulnerabilities have."""
EXPLOITED: Final = "known-exploited"
EPSS: Final = "epss"
EXPOSURE: Final = "exposure-level"
MOST_EXPOSED: Final = 5
_EPSS_BANDS: Final = (0.01, 0.1, 0.5)
_UNRATED: Final[Mapping[Severity, int]] = {Severity.CRITICAL: 1, Severity.HIGH: 1}
"""Band of a flaw without an EPSS score: not known is not harmless."""
_CERTAIN: Final[Mapping[Severity, tuple[int, int]]] = {
    Severity.CRITICAL: (2, 0),
    Severity.HIGH: (1, 0),
    Severity.MEDIUM: (0, 2),
    Severity.LOW: (0, 0),
}
"""Likelihood and least exposure of what is no vulnerability: it is there, and nobody measures how often it is used."""


def risk(severity: Severity, evidence: Mapping[str, str]) -> int:
    """1 to 1354, higher is more pressing."""
    exposure = _exposure(evidence.get(EXPOSURE, ""))
    if ADVISORIES in evidence:
        likely = _likely(severity, evidence.get(EPSS, ""))
    else:
        likely, least = _CERTAIN[severity]
        exposure = max(exposure, least)
    return 1000 * (EXPLOITED in evidence) + 100 * likely + 10 * exposure + int(severity)


def _likely(severity: Severity, epss: str) -> int:
    try:
        probability = float(epss)
    except ValueError:
        return _UNRATED.get(severity, 0)
    return sum(probability >= floor for floor in _EPSS_BANDS)


def _exposure(text: str) -> int:
    return min(int(text), MOST_EXPOSED) if text.isascii() and text.isdigit() else 0
