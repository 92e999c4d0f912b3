"""Cron lines: what they mean, when they fire, and what is wrong with bad ones."""

from __future__ import annotations

import datetime as dt

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pilothouse.kinds.batch.schedule import parse, zone


def moments(line: str, after: str, count: int = 3, where: str | None = None) -> list[str]:
    at: dt.datetime | None = dt.datetime.fromisoformat(after).replace(tzinfo=dt.UTC)
    found = []
    for _ in range(count):
        at = parse(line).next(at, zone(where)) if at is not None else None
        found.append(at.strftime("%Y-%m-%d %H:%M:%S") if at is not None else "never")
    return found


@pytest.mark.parametrize(
    ("line", "after", "expected"),
    [
        ("*/20 * * * *", "2026-01-01T00:00:01", ["2026-01-01 00:20:00", "2026-01-01 00:40:00", "2026-01-01 01:00:00"]),
        ("30 9-10 * jan mon", "2026-01-01", ["2026-01-05 09:30:00", "2026-01-05 10:30:00", "2026-01-12 09:30:00"]),
        # Both day fields given: either is enough.
        ("0 0 13 * fri", "2026-01-10", ["2026-01-13 00:00:00", "2026-01-16 00:00:00", "2026-01-23 00:00:00"]),
        # A step takes the star's meaning away, as upstream.
        ("0 0 */15 * fri", "2026-01-03", ["2026-01-09 00:00:00", "2026-01-16 00:00:00", "2026-01-23 00:00:00"]),
        ("50/5 23 * * ?", "2026-01-01", ["2026-01-01 23:50:00", "2026-01-01 23:55:00", "2026-01-02 23:50:00"]),
        ("0 0 29 2 *", "2026-01-01", ["2028-02-29 00:00:00", "2032-02-29 00:00:00", "2036-02-29 00:00:00"]),
        ("0 0 30 2 *", "2026-01-01", ["never"] * 3),
        ("@monthly", "2026-01-01", ["2026-02-01 00:00:00", "2026-03-01 00:00:00", "2026-04-01 00:00:00"]),
        ("@every 1h30m", "2026-01-01", ["2026-01-01 01:30:00", "2026-01-01 03:00:00", "2026-01-01 04:30:00"]),
    ],
)
def test_when_it_fires(line: str, after: str, expected: list[str]) -> None:
    assert moments(line, after) == expected


def test_a_skipped_hour_does_not_fire_and_a_repeated_one_does_twice() -> None:
    berlin = "Europe/Berlin"
    assert moments("30 2 * * *", "2026-03-28T12:00", 1, berlin) == ["2026-03-30 00:30:00"]
    assert moments("30 2 * * *", "2026-10-24T12:00", 3, berlin) == [
        "2026-10-25 00:30:00",
        "2026-10-25 01:30:00",
        "2026-10-26 01:30:00",
    ]


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("", "empty spec string"),
        ("* * * * * *", "expected exactly 5 fields, found 6: [* * * * * *]"),
        ("60 * * * *", "end of range (60) above maximum (59): 60"),
        ("* * 0 * *", "beginning of range (0) below minimum (1): 0"),
        ("5-1 * * * *", "beginning of range (5) beyond end of range (1): 5-1"),
        ("*/0 * * * *", "step of range should be a positive number: */0"),
        ("1-2-3 * * * *", "too many hyphens: 1-2-3"),
        ("1/2/3 * * * *", "too many slashes: 1/2/3"),
        ("* * * foo *", 'failed to parse int from foo: strconv.Atoi: parsing "foo": invalid syntax'),
        ("* * * * 7", "end of range (7) above maximum (6): 7"),
        ("@noon", "unrecognized descriptor: @noon"),
        ("@every soon", 'failed to parse duration @every soon: time: invalid duration "soon"'),
    ],
)
def test_bad_lines(line: str, message: str) -> None:
    with pytest.raises(ValueError) as told:  # noqa: PT011 - the whole message is compared
        parse(line)
    assert str(told.value) == message


@settings(max_examples=200, deadline=None)
@given(
    st.integers(0, 59),
    st.integers(0, 23),
    st.datetimes(dt.datetime(2020, 1, 1), dt.datetime(2030, 1, 1), timezones=st.just(dt.UTC)),
    st.sampled_from(["Europe/Berlin", "America/New_York", "Australia/Lord_Howe", "Asia/Kathmandu", "UTC"]),
)
def test_the_next_moment_is_later_and_has_the_asked_local_time(
    minute: int, hour: int, after: dt.datetime, where: str
) -> None:
    found = parse(f"{minute} {hour} * * *").next(after, zone(where))
    assert found is not None
    assert dt.timedelta(0) < found - after <= dt.timedelta(hours=50)
    local = found.astimezone(zone(where))
    assert (local.hour, local.minute, local.second) == (hour, minute, 0)
