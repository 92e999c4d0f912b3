"""Writes docs/reference/checks.md from the shipped checks: `python -m pilothouse.testing.checks_reference FILE`."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

from pilothouse.guard.finding import Check
from pilothouse.guard.shipped import all_checks

_HEAD = """\
# Checks

Written by `scripts/reference` from `guard/checks/`, `guard/cross/`, `guard/schema.py`; a test fails when it is stale.
`pilothouse check --explain ID` tells one of them, with the YAML that mends it; it also takes the names other tools use.

| check | severity | category | what is wrong | asked for by | other names |
|---|---|---|---|---|---|
"""


def checks_reference(checks: Sequence[Check]) -> str:
    """The page as Markdown: worst first, then by id."""
    ordered = sorted(checks, key=lambda check: (-check.severity, check.id))
    return _HEAD + "".join(
        f"| `{check.id}` | {check.severity} | {check.category} | {check.title} | {check.standards or '-'} "
        f"| {check.other_names or '-'} |\n"
        for check in ordered
    )


if __name__ == "__main__":
    Path(sys.argv[1]).write_text(checks_reference(all_checks()))
