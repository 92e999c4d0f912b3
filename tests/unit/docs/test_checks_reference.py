"""The page of checks says what the checks say."""

from __future__ import annotations

from pathlib import Path

from pilothouse.guard.shipped import all_checks
from pilothouse.testing.checks_reference import checks_reference

PAGE = Path(__file__).parents[3] / "docs" / "reference" / "checks.md"


def test_the_page_of_checks_is_up_to_date() -> None:
    assert PAGE.read_text() == checks_reference(all_checks()), (
        "docs/reference/checks.md is stale: run scripts/reference"
    )
