"""How many findings were open, day by day, and the drawing of it: SVG that needs nothing else. Pure."""

from __future__ import annotations

import datetime as dt
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from html import escape
from typing import Final, NamedTuple

from pilothouse.guard.finding import Severity
from pilothouse.kinds.guard.finding import RESOLVED, Finding

SEVERITIES: Final = tuple(str(severity) for severity in sorted(Severity, reverse=True))
REMEMBERED_DAYS: Final = 14
NOTHING: Final = ("", "", str(Severity.LOW), 0)
"""The rest of a `Point` that says a day was counted and nothing was open."""
_WIDTH, _HEIGHT, _LEFT, _FOOT = 960.0, 180.0, 44.0, 22.0
_WIDEST = 36.0
"""Of a day, when there are few of them."""
_DATES: Final = 10


class Point(NamedTuple):
    """How many findings of a severity an owner had open in a namespace at the end of a day."""

    day: str
    namespace: str
    owner: str
    severity: str
    open: int


class Day(NamedTuple):
    """What was open when a day was last counted, by severity."""

    day: str
    open: Mapping[str, int]


def by_day(points: Iterable[Point], wanted: Callable[[Point], bool]) -> list[Day]:
    """The days on which anything was counted, with what is wanted of them; a day of nothing open has no counts."""
    days: dict[str, Counter[str]] = {}
    for point in points:
        counted = days.setdefault(point.day, Counter())
        if wanted(point):
            counted[point.severity] += point.open
    return [Day(day, +days[day]) for day in sorted(days)]


def remembered(findings: Sequence[Finding], now: dt.datetime) -> list[Day]:
    """What was open at the end of each of the last days, as far as findings tell: what was resolved is soon gone."""
    days = [(now.date() - dt.timedelta(days=back)).isoformat() for back in range(REMEMBERED_DAYS - 1, -1, -1)]
    return [Day(day, Counter(f.spec.severity for f in findings if _was_open(f, day))) for day in days]


def _was_open(finding: Finding, day: str) -> bool:
    status = finding.status
    ended = status.resolved_at[:10] if status.state == RESOLVED else ""
    return status.first_seen[:10] <= day and (not ended or day < ended)


def chart(days: Sequence[Day]) -> str:
    """Bars by day, a severity above the other; days that nobody counted are left empty. Without days, words."""
    if not days:
        return "<p>Nothing was counted yet.</p>"
    first, last = (dt.date.fromisoformat(days[place].day) for place in (0, -1))
    span = (last - first).days + 1
    slot = min((_WIDTH - _LEFT) / span, _WIDEST)
    top = _round(max(sum(day.open.values()) for day in days))
    bars: dict[str, list[str]] = {severity: [] for severity in reversed(SEVERITIES)}
    named = []
    for day in days:
        left = _LEFT + slot * (dt.date.fromisoformat(day.day) - first).days
        floor = _HEIGHT
        for severity, drawn in bars.items():
            height = _HEIGHT * day.open.get(severity, 0) / top
            floor -= height
            if height:
                drawn.append(f"M{left:.1f} {floor:.1f}h{slot * 0.85:.1f}v{height:.1f}h-{slot * 0.85:.1f}z")
        named.append(
            f'<rect class="day" x="{left:.1f}" width="{slot:.1f}" height="{_HEIGHT}"><title>{told(day)}</title></rect>'
        )
    paths = "".join(f'<path class="{severity}" d="{"".join(drawn)}"/>' for severity, drawn in bars.items())
    axes = "".join(_line(value, top) for value in dict.fromkeys((0, top // 2, top)))
    label = escape(f"open findings by day: from {told(days[0])} to {told(days[-1])}")
    box = f"0 -10 {_WIDTH:.0f} {_HEIGHT + _FOOT + 10:.0f}"
    return (
        f'<svg id="trend" viewBox="{box}" role="img" aria-label="{label}">'
        f"{axes}{paths}{''.join(_dates(first, span, slot))}{''.join(named)}</svg>\n{_legend()}\n{_table(days)}"
    )


def told(day: Day) -> str:
    """A day in words."""
    counts = ", ".join(f"{day.open[s]} {s}" for s in SEVERITIES if day.open.get(s))
    return f"{day.day}: {counts or 'none'}"


def _round(most: int) -> int:
    """The next of 2, 4, 6, 10, 20, 40, 60, 100 …: an axis that is halved in whole numbers."""
    power = 1
    while most > 10 * power:
        power *= 10
    return next(power * digit for digit in (2, 4, 6, 10) if power * digit >= most)


def _line(value: int, top: int) -> str:
    y = _HEIGHT - _HEIGHT * value / top
    return (
        f'<path class="axis" d="M{_LEFT} {y}H{_WIDTH}"/><text class="count" x="{_LEFT - 6}" y="{y + 4}">{value}</text>'
    )


def _dates(first: dt.date, span: int, slot: float) -> Iterable[str]:
    apart = max(-(-span // _DATES), round(60 / slot))
    for place in range(0, span, apart):
        day = first + dt.timedelta(days=place)
        yield f'<text x="{_LEFT + slot * (place + 0.43):.1f}" y="{_HEIGHT + 16}">{day:%Y-%m-%d}</text>'


def _legend() -> str:
    return '<p class="legend">' + " ".join(f'<span class="{s}">\u25a0 {s}</span>' for s in SEVERITIES) + "</p>"


def _table(days: Sequence[Day]) -> str:
    heads = "".join(f"<th>{severity}</th>" for severity in SEVERITIES)
    rows = "".join(
        f"<tr><th>{day.day}</th>{''.join(f'<td>{day.open.get(s, 0)}</td>' for s in SEVERITIES)}</tr>"
        for day in reversed(days)
    )
    return (
        "<details><summary>The same in numbers</summary>"
        f'<table id="days"><thead><tr><th>day</th>{heads}</tr></thead><tbody>{rows}</tbody></table></details>'
    )
