"""Times as objects have them."""

from __future__ import annotations

import datetime as dt

import pytest

from pilothouse.machinery.objects import micro_timestamp, parse_timestamp, timestamp


@pytest.mark.parametrize(
    ("moment", "whole", "micro"),
    [
        (dt.datetime(2026, 1, 2, 3, 4, 5, 67, dt.UTC), "2026-01-02T03:04:05Z", "2026-01-02T03:04:05.000067Z"),
        (dt.datetime(1, 1, 1, 0, 0, 2, tzinfo=dt.UTC), "0001-01-01T00:00:02Z", "0001-01-01T00:00:02.000000Z"),
    ],
)
def test_every_year_has_four_digits(moment: dt.datetime, whole: str, micro: str) -> None:
    assert (timestamp(moment), micro_timestamp(moment)) == (whole, micro)
    assert parse_timestamp(micro) == moment
