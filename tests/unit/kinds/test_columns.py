import datetime as dt

import pytest

from pilothouse.kinds import columns

MINUTE, HOUR, DAY = 60, 3600, 86400


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (-5, "<invalid>"),
        (-1, "0s"),
        (0.9, "0s"),
        (119, "119s"),
        (2 * MINUTE, "2m"),
        (2 * MINUTE + 3, "2m3s"),
        (10 * MINUTE + 3, "10m"),
        (3 * HOUR - 1, "179m"),
        (3 * HOUR, "3h"),
        (7 * HOUR + 12 * MINUTE, "7h12m"),
        (8 * HOUR + 12 * MINUTE, "8h"),
        (47 * HOUR, "47h"),
        (2 * DAY, "2d"),
        (3 * DAY + 4 * HOUR, "3d4h"),
        (8 * DAY + 4 * HOUR, "8d"),
        (729 * DAY, "729d"),
        (2 * 365 * DAY, "2y"),
        (2 * 365 * DAY + 30 * DAY, "2y30d"),
        (8 * 365 * DAY + 30 * DAY, "8y"),
    ],
)
def test_durations_grow_coarser(seconds: float, text: str) -> None:
    assert columns.human_duration(seconds) == text


def test_the_time_since_a_moment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(columns, "now", lambda: dt.datetime(2026, 1, 1, 0, 5, tzinfo=dt.UTC))
    assert columns.since("2026-01-01T00:00:00Z") == "5m"
    assert columns.since("2026-01-01T00:04:59.500000Z") == "0s"
    assert columns.since(None) == "<unknown>"


@pytest.mark.parametrize(
    ("selector", "text"),
    [
        (None, "<none>"),
        ({}, "<none>"),
        ({"matchLabels": {"b": "2", "a": "1"}}, "a=1,b=2"),
        ({"matchExpressions": [{"key": "k", "operator": "In", "values": ["y", "x"]}]}, "k in (x,y)"),
        ({"matchExpressions": [{"key": "k", "operator": "DoesNotExist"}]}, "!k"),
        ({"matchExpressions": [{"key": "k", "operator": "Near"}]}, "<error>"),
    ],
)
def test_selectors_on_one_line(selector: dict[str, object] | None, text: str) -> None:
    assert columns.selector_text(selector) == text


def test_a_missing_field_shows_its_default() -> None:
    read = columns.field("spec", "nodeName", default="<none>")
    assert read({}) == read({"spec": {"nodeName": ""}}) == read({"spec": None}) == "<none>"
    assert read({"spec": {"nodeName": "n1"}}) == "n1"
