"""Cron lines: what they say, and when they fire next. Pure.

Syntax and messages are those of upstream's parser (robfig/cron, standard form): five fields with names, lists, ranges
and steps, `?` for `*`, the descriptors `@hourly`, `@daily`, … and `@every 1h30m`. Days match when either day field
does, unless one of them is `*`. A local time that a clock change skips does not fire; one that it repeats fires twice.
"""

from __future__ import annotations

import datetime as dt
import functools
import re
import zoneinfo
from collections.abc import Iterator
from dataclasses import dataclass

_MONTHS = ["jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec"]
_DAYS = ["sun", "mon", "tue", "wed", "thu", "fri", "sat"]
_DESCRIPTORS = {
    "@yearly": "0 0 1 1 *",
    "@annually": "0 0 1 1 *",
    "@monthly": "0 0 1 * *",
    "@weekly": "0 0 * * 0",
    "@daily": "0 0 * * *",
    "@midnight": "0 0 * * *",
    "@hourly": "0 * * * *",
}
_UNITS = {"h": 3600.0, "m": 60.0, "s": 1.0, "ms": 1e-3, "us": 1e-6, "µs": 1e-6, "ns": 1e-9}
_DURATION = re.compile(r"(?:\d+(?:\.\d*)?|\.\d+)(?:ms|us|µs|ns|h|m|s)")
_HORIZON = dt.timedelta(days=366 * 5)
"""A line without a moment in five years never fires (upstream's rule)."""


@dataclass(frozen=True, slots=True)
class _Field:
    low: int
    high: int
    names: dict[str, int]


_FIELDS = (
    _Field(0, 59, {}),
    _Field(0, 23, {}),
    _Field(1, 31, {}),
    _Field(1, 12, {name: number for number, name in enumerate(_MONTHS, 1)}),
    _Field(0, 6, {name: number for number, name in enumerate(_DAYS)}),
)


@dataclass(frozen=True, slots=True)
class Schedule:
    """A parsed line. `every` is set for `@every`, the fields otherwise; `any_day` when a day field is `*`."""

    minutes: tuple[int, ...] = ()
    hours: tuple[int, ...] = ()
    days: frozenset[int] = frozenset()
    months: frozenset[int] = frozenset()
    weekdays: frozenset[int] = frozenset()
    any_day: bool = False
    every: dt.timedelta | None = None

    def next(self, after: dt.datetime, zone: dt.tzinfo = dt.UTC) -> dt.datetime | None:
        """The first moment later than `after`, in UTC; None if the line never fires."""
        after = after.astimezone(dt.UTC)
        if self.every is not None:
            return after.replace(microsecond=0) + self.every
        first = after.astimezone(zone).date()
        for offset in range(_HORIZON.days):
            day = first + dt.timedelta(days=offset)
            if not self._fires_on(day):
                continue
            for moment in self._moments(day, zone):
                if moment > after:
                    return moment
        return None

    def _fires_on(self, day: dt.date) -> bool:
        if day.month not in self.months:
            return False
        in_month, in_week = day.day in self.days, day.isoweekday() % 7 in self.weekdays
        return (in_month and in_week) if self.any_day else (in_month or in_week)

    def _moments(self, day: dt.date, zone: dt.tzinfo) -> Iterator[dt.datetime]:
        """The moments of a day in order."""
        start = dt.datetime.combine(day, dt.time(), zone)
        clock_changes = start.utcoffset() != (start + dt.timedelta(days=1)).utcoffset()
        walls = (start.replace(hour=hour, minute=minute) for hour in self.hours for minute in self.minutes)
        if not clock_changes:
            yield from (wall.astimezone(dt.UTC) for wall in walls)
            return
        moments = set()
        for wall in walls:
            for fold in (0, 1):
                moment = wall.replace(fold=fold).astimezone(dt.UTC)
                # A skipped local time comes back as another one.
                if moment.astimezone(zone).replace(tzinfo=None, fold=0) == wall.replace(tzinfo=None):
                    moments.add(moment)
        yield from sorted(moments)


@functools.lru_cache(maxsize=512)
def parse(line: str) -> Schedule:
    """The schedule of a cron line. Raises ValueError with upstream's message."""
    if not line:
        raise ValueError("empty spec string")
    if line.startswith("@"):
        return _descriptor(line)
    texts = line.split()
    if len(texts) != len(_FIELDS):
        raise ValueError(f"expected exactly 5 fields, found {len(texts)}: [{' '.join(texts)}]")
    parsed = [_values(text, field) for text, field in zip(texts, _FIELDS)]
    (minutes, _), (hours, _), (days, every_day), (months, _), (weekdays, every_weekday) = parsed
    return Schedule(
        tuple(sorted(minutes)),
        tuple(sorted(hours)),
        frozenset(days),
        frozenset(months),
        frozenset(weekdays),
        every_day or every_weekday,
    )


def zone(name: str | None) -> dt.tzinfo:
    """The time zone of that name, UTC without one. Raises ValueError."""
    if name is None:
        return dt.UTC
    try:
        return zoneinfo.ZoneInfo(name)
    except (zoneinfo.ZoneInfoNotFoundError, ValueError, OSError) as error:
        raise ValueError(f"unknown time zone {name}") from error


def _descriptor(line: str) -> Schedule:
    if line in _DESCRIPTORS:
        return parse(_DESCRIPTORS[line])
    prefix = "@every "
    if not line.startswith(prefix):
        raise ValueError(f"unrecognized descriptor: {line}")
    text = line[len(prefix) :]
    parts = _DURATION.findall(text)
    if not parts or "".join(parts) != text:
        raise ValueError(f'failed to parse duration {line}: time: invalid duration "{text}"')
    seconds = 0.0
    for part in parts:
        number = part.rstrip("hmsuµn")
        seconds += float(number) * _UNITS[part[len(number) :]]
    return Schedule(every=dt.timedelta(seconds=max(1, int(seconds))))


def _values(text: str, field: _Field) -> tuple[set[int], bool]:
    """The values a field names, and whether one of its parts is a plain `*`."""
    values: set[int] = set()
    star = False
    for part in text.split(","):
        if part:
            found, is_star = _range(part, field)
            values |= found
            star = star or is_star
    if not values:
        raise ValueError(f'failed to parse int from {text}: strconv.Atoi: parsing "": invalid syntax')
    return values, star


def _range(part: str, field: _Field) -> tuple[set[int], bool]:
    span, *steps = part.split("/")
    low, *highs = span.split("-")
    if low in ("*", "?"):
        start, end, star = field.low, field.high, True
    else:
        if len(highs) > 1:
            raise ValueError(f"too many hyphens: {part}")
        start, star = _number(low, field), False
        end = _number(highs[0], field) if highs else start
    step = 1
    if len(steps) > 1:
        raise ValueError(f"too many slashes: {part}")
    if steps:
        step = _integer(steps[0])
        if not star and not highs:
            end = field.high
        star = star and step <= 1
    if start < field.low:
        raise ValueError(f"beginning of range ({start}) below minimum ({field.low}): {part}")
    if end > field.high:
        raise ValueError(f"end of range ({end}) above maximum ({field.high}): {part}")
    if start > end:
        raise ValueError(f"beginning of range ({start}) beyond end of range ({end}): {part}")
    if step == 0:
        raise ValueError(f"step of range should be a positive number: {part}")
    return set(range(start, end + 1, step)), star


def _number(text: str, field: _Field) -> int:
    named = field.names.get(text.lower())
    return _integer(text) if named is None else named


def _integer(text: str) -> int:
    if not text.isascii() or not text.lstrip("+-").isdigit():
        raise ValueError(f'failed to parse int from {text}: strconv.Atoi: parsing "{text}": invalid syntax')
    number = int(text)
    if number < 0:
        raise ValueError(f"negative number ({number}) not allowed: {text}")
    return number
