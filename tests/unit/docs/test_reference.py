"""The generated pages say what the code says."""

from __future__ import annotations

from pathlib import Path

from pilothouse.kinds.catalogue import KINDS
from pilothouse.testing.reference import reference

PAGE = Path(__file__).parents[3] / "docs" / "reference" / "kinds.md"


def test_the_page_of_kinds_is_up_to_date() -> None:
    assert PAGE.read_text() == reference(KINDS), "docs/reference/kinds.md is stale: run scripts/reference"


def test_every_kind_has_an_entry() -> None:
    page = reference(KINDS)

    assert all(f"\n## {kind.resource.kind}\n" in page for kind in KINDS)
