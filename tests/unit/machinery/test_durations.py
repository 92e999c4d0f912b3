"""Lengths of time as Go writes them."""

from __future__ import annotations

import pytest

from pilothouse.machinery.durations import InvalidDuration, parse_duration


@pytest.mark.parametrize(
    ("text", "seconds"), [("0", 0), ("1h30m", 5400), ("1.5s", 1.5), ("100ms", 0.1), ("2m.5s", 120.5), ("0s", 0)]
)
def test_lengths(text: str, seconds: float) -> None:
    assert parse_duration(text) == pytest.approx(seconds)


@pytest.mark.parametrize("text", ["", "1", "h", "1h ", "-1s", "1d", "1h3"])
def test_what_is_none_is_named(text: str) -> None:
    with pytest.raises(InvalidDuration, match="no length of time"):
        parse_duration(text)
