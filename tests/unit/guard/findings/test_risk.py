from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from pilothouse.guard.finding import Severity
from pilothouse.guard.findings.risk import ADVISORIES, EPSS, EXPLOITED, EXPOSURE, risk

SEVERITIES = st.sampled_from(list(Severity))
SCORES = st.floats(0, 1).map(lambda score: f"{score:.4f}")
LEVELS = st.integers(0, 5)


def flaw(epss: str, exposure: int, exploited: bool = False) -> dict[str, str]:
    evidence = {ADVISORIES: "CVE-1", EPSS: epss, EXPOSURE: str(exposure)}
    return evidence | {EXPLOITED: "since 2024-01-01"} if exploited else evidence


@given(SEVERITIES, SEVERITIES, SCORES, SCORES, LEVELS, LEVELS)
def test_what_is_exploited_comes_before_all_else(
    one: Severity, other: Severity, low: str, high: str, near: int, far: int
) -> None:
    assert risk(one, flaw(low, near, exploited=True)) > risk(other, flaw(high, far))
    assert risk(other, flaw(high, far)) > risk(Severity.LOW, {}) - 1


@given(SEVERITIES, SEVERITIES, LEVELS, LEVELS, SCORES)
def test_likelihood_then_exposure_then_severity(one: Severity, other: Severity, near: int, far: int, epss: str) -> None:
    assert risk(one, flaw("0.6000", near)) > risk(other, flaw("0.0500", far))
    first, second = risk(one, flaw(epss, near)), risk(other, flaw(epss, far))
    assert (first > second) == ((near, one) > (far, other))


@given(SEVERITIES, SEVERITIES, LEVELS)
def test_what_is_no_vulnerability_goes_by_severity(one: Severity, other: Severity, level: int) -> None:
    assert (risk(one, {}) > risk(other, {})) == (one > other)
    assert risk(one, {EXPOSURE: str(level)}) >= risk(one, {})


def test_a_flaw_without_a_score_is_not_taken_for_harmless() -> None:
    unrated = risk(Severity.CRITICAL, {ADVISORIES: "CVE-1", EXPOSURE: "4"})
    assert unrated > risk(Severity.CRITICAL, flaw("0.0010", 5))
    assert unrated < risk(Severity.LOW, flaw("0.2000", 0))
