"""Timestamps and durations: how they are written, and their parts. Source: the CEL specification; Go for durations."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta, timezone
from functools import lru_cache
from typing import Any
from zoneinfo import ZoneInfo

from pilothouse.policy.cel.budget import Budget
from pilothouse.policy.cel.errors import EvaluationError
from pilothouse.policy.cel.registry import function
from pilothouse.policy.cel.values import NANOS, Duration, Timestamp

_TIMESTAMP = re.compile(
    r"(\d{4})-(\d\d)-(\d\d)T(\d\d):(\d\d):(\d\d)(?:\.(\d{1,9})\d*)?(?:(Z)|([+-])(\d\d):(\d\d))", re.ASCII
)
_EPOCH = datetime(1970, 1, 1)
_UNITS = {"h": 3600 * NANOS, "m": 60 * NANOS, "s": NANOS, "ms": 10**6, "us": 1000, "µs": 1000, "μs": 1000, "ns": 1}
_PART = re.compile(r"(\d*)(?:\.(\d*))?(ms|us|µs|μs|ns|h|m|s)", re.ASCII)
_OFFSET = re.compile(r"([+-]?)(\d\d):(\d\d)", re.ASCII)
_LONGEST = 64


def parse_timestamp(text: str) -> Timestamp:
    """RFC 3339. Raises EvaluationError."""
    found = _TIMESTAMP.fullmatch(text)
    try:
        if found is None:
            raise ValueError(text)
        year, month, day, hour, minute, second = (int(found[index]) for index in range(1, 7))
        moment = datetime(year, month, day, hour, minute, second) - _EPOCH
    except ValueError:
        raise EvaluationError(f"type conversion error from 'string' to 'google.protobuf.Timestamp': {text}") from None
    nanos = (moment.days * 86400 + moment.seconds) * NANOS + int((found[7] or "").ljust(9, "0"))
    if found[9]:
        offset = (int(found[10]) * 60 + int(found[11])) * 60 * NANOS
        nanos += offset if found[9] == "-" else -offset
    return Timestamp.of(nanos)


def timestamp_text(moment: Timestamp) -> str:
    """RFC 3339 in UTC, with as many digits of a second as there are."""
    text = moment.datetime().strftime("%Y-%m-%dT%H:%M:%S").rjust(19, "0")
    fraction = f"{moment.nanos % NANOS:09d}".rstrip("0")
    return f"{text}.{fraction}Z" if fraction else f"{text}Z"


def parse_duration(text: str) -> Duration:
    """`1h30m`, `-1.5s`, `100ms`. Raises EvaluationError."""
    rest = text[1:] if text[:1] in ("+", "-") else text
    nanos = 0
    at = 0
    while at < len(rest) <= _LONGEST and rest != "0":
        part = _PART.match(rest, at)
        if part is None or not (part[1] or part[2]):
            break
        unit = _UNITS[part[3]]
        nanos += int(part[1] or 0) * unit
        if part[2]:
            nanos += int(part[2]) * unit // 10 ** len(part[2])
        at = part.end()
    if rest != "0" and (not rest or at < len(rest)):
        raise EvaluationError(f"type conversion error from 'string' to 'google.protobuf.Duration': {text}")
    return Duration.of(-nanos if text.startswith("-") else nanos)


def seconds_text(length: Duration) -> str:
    """As seconds: `5400s`, `1.5s`."""
    whole, part = divmod(abs(length.nanos), NANOS)
    fraction = f".{part:09d}".rstrip("0") if part else ""
    return f"{'-' if length.nanos < 0 else ''}{whole}{fraction}s"


@lru_cache(maxsize=64)
def _zone(name: str) -> Any:
    found = _OFFSET.fullmatch(name)
    if found:
        offset = timedelta(hours=int(found[2]), minutes=int(found[3]))
        return timezone(-offset if found[1] == "-" else offset)
    try:
        return UTC if name in ("", "UTC") else ZoneInfo(name)
    except (OSError, ValueError, LookupError):
        raise EvaluationError(f"unknown time zone {name}") from None


def _of_timestamp(name: str, part: Any) -> None:
    @function(f"timestamp.{name}() -> int", f"timestamp.{name}(string) -> int", known=True)
    def _(budget: Budget, moment: Timestamp, zone: str = "UTC") -> int:
        return int(part(moment.datetime(_zone(zone))))


def _of_duration(name: str, unit: int, within: int = 0) -> None:
    @function(f"duration.{name}() -> int", known=True)
    def _(budget: Budget, length: Duration) -> int:
        found = abs(length.nanos) // unit
        found = found % within if within else found
        return -found if length.nanos < 0 else found


_of_timestamp("getFullYear", lambda moment: moment.year)
_of_timestamp("getMonth", lambda moment: moment.month - 1)
_of_timestamp("getDate", lambda moment: moment.day)
_of_timestamp("getDayOfMonth", lambda moment: moment.day - 1)
_of_timestamp("getDayOfWeek", lambda moment: moment.isoweekday() % 7)
_of_timestamp("getDayOfYear", lambda moment: moment.timetuple().tm_yday - 1)
_of_timestamp("getHours", lambda moment: moment.hour)
_of_timestamp("getMinutes", lambda moment: moment.minute)
_of_timestamp("getSeconds", lambda moment: moment.second)
_of_timestamp("getMilliseconds", lambda moment: moment.microsecond // 1000)
_of_duration("getHours", 3600 * NANOS)
_of_duration("getMinutes", 60 * NANOS)
_of_duration("getSeconds", NANOS)
_of_duration("getMilliseconds", 10**6, 1000)
