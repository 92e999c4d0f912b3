"""The scheduling queue under a clock set by hand."""

from __future__ import annotations

import pytest

from pilothouse.scheduler.queue import PATIENCE_SECONDS, Change, SchedulingQueue


class Clock:
    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


def drain(queue: SchedulingQueue) -> list[str]:
    keys = []
    while (key := queue.pop()) is not None:
        keys.append(key)
    return keys


def test_priority_first_then_arrival(clock: Clock) -> None:
    queue = SchedulingQueue(clock)
    for key, priority in (("a", 0), ("b", 10), ("c", 0), ("d", 10)):
        queue.add(key, priority)
    assert drain(queue) == ["b", "d", "a", "c"]


def test_a_parked_pod_waits_for_a_change_that_concerns_it(clock: Clock) -> None:
    queue = SchedulingQueue(clock)
    queue.add("p")
    assert queue.pop() == "p"
    queue.park("p", frozenset({"NodeResourcesFit"}))
    clock.now += 60
    queue.happened(Change.STORAGE)
    assert queue.pop() is None
    queue.happened(Change.POD_GONE)
    assert queue.pop() == "p"


def test_back_off_grows_and_is_counted_from_the_last_attempt(clock: Clock) -> None:
    queue = SchedulingQueue(clock)
    queue.add("p")
    waits = []
    for _ in range(6):
        assert queue.pop() == "p"
        queue.park("p", frozenset({"NodeResourcesFit"}))
        queue.happened(Change.NODE_CHANGED)
        assert queue.pop() is None
        due = queue.next_due()
        assert due is not None
        waits.append(due - clock.now)
        clock.now = due
    assert waits == [1, 2, 4, 8, 10, 10]


def test_patience_ends_without_any_event(clock: Clock) -> None:
    queue = SchedulingQueue(clock)
    queue.add("p")
    queue.pop()
    queue.park("p", frozenset({"NodeAffinity"}))
    assert queue.next_due() == clock.now + PATIENCE_SECONDS
    clock.now += PATIENCE_SECONDS
    assert queue.pop() == "p"


def test_a_removed_pod_never_comes(clock: Clock) -> None:
    queue = SchedulingQueue(clock)
    queue.add("a")
    queue.add("b")
    queue.pop()
    queue.failed("a")
    queue.remove("a")
    queue.remove("b")
    clock.now += 60
    assert queue.pop() is None
    assert len(queue) == 0


def test_a_changed_pod_is_tried_at_once(clock: Clock) -> None:
    queue = SchedulingQueue(clock)
    queue.add("p")
    queue.pop()
    queue.park("p", frozenset({"NodeAffinity"}))
    queue.add("p")
    assert queue.pop() == "p"
    assert queue.pop() is None
