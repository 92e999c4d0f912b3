"""What `deploy` makes of the server's answers."""

from __future__ import annotations

import pytest

from pilothouse.cli.apply import _warnings


@pytest.mark.parametrize(
    ("header", "texts"),
    [
        ("", []),
        ('299 - "one"', ["one"]),
        ('299 - "one", 299 - "two, three"', ["one", "two, three"]),
        (
            r'299 - "would violate \"restricted:latest\": x", 299 - "b\\c"',
            ['would violate "restricted:latest": x', "b\\c"],
        ),
    ],
)
def test_warnings_are_read_whole(header: str, texts: list[str]) -> None:
    assert _warnings(header) == texts
