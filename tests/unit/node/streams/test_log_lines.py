"""Lines of CRI logs, and what is chosen of them."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pilothouse.machinery.errors import Invalid
from pilothouse.node.streams.log_line import LogFilter, LogLine, LogOptions, options_of, parse, tail_start

T1, T2, T3 = (b"2026-01-02T03:04:0%d.000000000Z" % second for second in (1, 2, 3))
LINES = [
    T1 + b" stdout F one",
    T2 + b" stderr P two, ",
    T2 + b" stderr F continued",
    T3 + b" stdout F  spaces kept ",
]


def test_parse() -> None:
    assert parse(LINES[0]) == LogLine(T1, b"stdout", True, b"one")
    assert parse(LINES[3]) == LogLine(T3, b"stdout", True, b" spaces kept ")
    assert parse(T1 + b" stdout F ") == LogLine(T1, b"stdout", True, b"")
    assert parse(T1 + b" stdout P:tag x") == LogLine(T1, b"stdout", False, b"x")
    assert parse(b"") is None
    assert parse(b"not of the format at all") is None


def test_parts_are_joined() -> None:
    assert LogFilter(LogOptions()).feed(LINES) == b"one\ntwo, continued\n spaces kept \n"


def test_time_stamps_open_full_lines_only() -> None:
    output = LogFilter(LogOptions(timestamps=True)).feed(LINES[:3])
    assert output == T1 + b" one\n" + T2 + b" two, continued\n"


def test_one_stream() -> None:
    assert LogFilter(LogOptions(stream=b"stderr")).feed(LINES) == b"two, continued\n"


def test_since_is_compared_to_the_fraction() -> None:
    at_two = 1767323042.0
    assert LogFilter(LogOptions(since=at_two)).feed(LINES) == b"two, continued\n spaces kept \n"
    assert LogFilter(LogOptions(since=at_two + 0.5)).feed(LINES) == b" spaces kept \n"
    elsewhere = [b"2026-01-02T05:04:01.5+02:00 stdout F early", b"2026-01-02T05:04:02.5+02:00 stdout F late"]
    assert LogFilter(LogOptions(since=at_two)).feed(elsewhere) == b"late\n"


def test_the_byte_limit_cuts_across_calls() -> None:
    chosen = LogFilter(LogOptions(limit_bytes=6))
    assert chosen.feed(LINES[:1]) == b"one\n"
    assert not chosen.exhausted
    assert chosen.feed(LINES[1:]) == b"tw"
    assert chosen.exhausted


def test_options() -> None:
    query = {"follow": "true", "tailLines": "5", "sinceSeconds": "10", "timestamps": "1", "limitBytes": "7"}
    assert options_of(query, 100.0) == LogOptions(follow=True, timestamps=True, since=90.0, tail_lines=5, limit_bytes=7)
    assert options_of({"sinceTime": "2026-01-02T03:04:02.123456789Z"}, 0).since == pytest.approx(1767323042.123456)
    assert options_of({"stream": "Stderr"}, 0).stream == b"stderr"


@pytest.mark.parametrize(
    "query",
    [
        {"tailLines": "-1"},
        {"tailLines": "many"},
        {"limitBytes": "0"},
        {"sinceSeconds": "0"},
        {"sinceTime": "yesterday"},
        {"sinceTime": "2026-01-02T03:04:02Z", "sinceSeconds": "1"},
        {"stream": "stdwhat"},
        {"stream": "Stdout", "tailLines": "1"},
        {"follow": "perhaps"},
    ],
)
def test_options_that_make_no_sense_are_named(query: dict[str, str]) -> None:
    with pytest.raises(Invalid):
        options_of(query, 0.0)


def test_tail_of_parts_counts_full_lines() -> None:
    data = b"\n".join(LINES) + b"\n"
    assert data[tail_start(data, 2, True) :].startswith(T2 + b" stderr P")
    assert tail_start(data, 0, True) == len(data)
    assert tail_start(data, 99, True) == 0
    assert tail_start(data, 99, False) is None


@given(st.lists(st.booleans(), max_size=30), st.integers(0, 12), st.integers(0, 400))
def test_a_tail_is_what_the_whole_file_ends_with(full: list[bool], count: int, window: int) -> None:
    lines = [T1 + b" stdout %s %d" % (b"F" if tag else b"P", number) for number, tag in enumerate(full)]
    data = b"".join(line + b"\n" for line in lines)
    start = tail_start(data, count, True)
    assert start is not None
    texts = LogFilter(LogOptions()).feed(data[start:].split(b"\n")[:-1]).split(b"\n")
    everything = LogFilter(LogOptions()).feed(lines).split(b"\n")
    if everything[-1] == b"":
        everything.pop()
    expected = everything[-count:] if count else []
    assert [text for text in texts if text] == expected
    # Seen through a window at its end, the file has the same tail, or a larger window is needed.
    cut = max(0, len(data) - window)
    found = tail_start(data[cut:], count, cut == 0)
    assert found is None or cut + found == start
