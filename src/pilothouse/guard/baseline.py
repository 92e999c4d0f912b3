"""Only what is new since a saved run (`-o json`). Pure."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping
from dataclasses import replace

from pilothouse.guard.judge import Report


class BadBaseline(ValueError):
    """The text is no saved run."""


def fingerprints(text: str) -> Counter[str]:
    """The fingerprints of a saved run, each as often as it was found. Raises BadBaseline."""
    try:
        tree = json.loads(text)
        if tree["kind"] != "PilothouseCheckReport":
            raise BadBaseline(f"its kind is {tree['kind']!r}, not PilothouseCheckReport")
        return Counter(str(finding["fingerprint"]) for finding in tree["findings"])
    except (ValueError, KeyError, TypeError) as error:
        raise BadBaseline(f"no saved run of `pilothouse check -o json`: {error}") from error


def new_only(report: Report, known: Mapping[str, int]) -> Report:
    """The report without findings that are known; a finding known once and found twice is new once."""
    left = Counter(known)
    found, known_before = [], []
    for finding in report.findings:
        if left[finding.fingerprint] > 0:
            left[finding.fingerprint] -= 1
            known_before.append(finding)
        else:
            found.append(finding)
    return replace(report, findings=tuple(found), known=tuple(known_before))
