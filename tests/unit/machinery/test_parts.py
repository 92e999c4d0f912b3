import os
import threading

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pilothouse.machinery.parts import in_parts


@pytest.fixture(autouse=True)
def no_other_threads(monkeypatch: pytest.MonkeyPatch) -> None:
    """Other tests leave some that wait, with no lock that matters here."""
    monkeypatch.setattr(threading, "active_count", lambda: 1)


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 40), st.integers(1, 50))
def test_parts_put_together_are_the_whole(count: int, least: int) -> None:
    parts = in_parts(count, lambda start, end: list(range(start, end)), least)
    assert [number for part in parts for number in part] == list(range(count))
    assert all(len(part) >= least for part in parts) or len(parts) == 1


def test_several_processors_are_used(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda process: {0, 1, 2})
    processes = in_parts(30, lambda start, end: os.getpid(), 10)
    assert len(set(processes)) == 3
    assert processes[0] == os.getpid()


def test_a_part_whose_process_ends_is_done_here(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda process: {0, 1})
    here = os.getpid()

    def work(start: int, end: int) -> list[int]:
        if os.getpid() != here:
            os._exit(0)
        return list(range(start, end))

    assert in_parts(4, work, 1) == [[0, 1], [2, 3]]


def test_beside_other_threads_all_is_done_here(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda process: {0, 1})
    monkeypatch.setattr(threading, "active_count", lambda: 2)
    assert in_parts(4, lambda start, end: os.getpid(), 1) == [os.getpid()]


def test_an_error_of_a_part_is_raised_here(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda process: {0, 1})

    def work(start: int, end: int) -> int:
        if start:
            raise ValueError(f"not {start}")
        return start

    with pytest.raises(ValueError, match="not 2"):
        in_parts(4, work, 1)
