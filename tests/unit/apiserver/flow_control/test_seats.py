"""Queues and seats: laws that hold whatever comes."""

from collections import Counter

from hypothesis import given, settings
from hypothesis import strategies as st

from pilothouse.apiserver.flow_control.classify import Schema
from pilothouse.apiserver.flow_control.levels import Level, Queuing
from pilothouse.apiserver.flow_control.queues import FairQueues, deal
from pilothouse.apiserver.flow_control.seats import Seats, Ticket

QUEUING = Queuing(16, 3, 50)


def schema(level: str) -> Schema:
    return Schema(f"for-{level}", "", level, 1, "ByUser", ())


def arrive(seats: Seats, level: str, flow: str = "a", width: int = 1) -> Ticket | None:
    ticket = Ticket(seats.levels[level], schema(level), flow, width, 0.0)
    return ticket if seats.enter(ticket) else None


@given(st.text(max_size=40), st.integers(1, 200), st.integers(1, 12))
def test_a_hand_has_distinct_cards_of_the_deck_and_is_always_the_same(flow: str, queues: int, hand: int) -> None:
    queuing = Queuing(queues, min(hand, queues), 1)
    dealt = deal(flow, queuing)
    assert len(set(dealt)) == queuing.hand
    assert set(dealt) <= set(range(queues))
    assert deal(flow, queuing) == dealt


def test_hands_spread_over_all_queues() -> None:
    counts = Counter(number for flow in range(4000) for number in deal(str(flow), Queuing(16, 4, 1)))
    assert set(counts) == set(range(16))
    assert max(counts.values()) < 1.3 * min(counts.values())


def test_a_flow_with_little_is_served_among_one_with_much() -> None:
    queues: FairQueues[str] = FairQueues(QUEUING)
    for _ in range(120):
        assert queues.put("flood", "flood", 1)
    assert queues.put("quiet", "quiet", 1)
    served = [queues.take()[0] for _ in range(len(queues))]
    assert served.index("quiet") <= QUEUING.hand


def test_queues_that_nobody_uses_are_let_go() -> None:
    queues: FairQueues[int] = FairQueues(Queuing(1_000_000, 1, 5))
    for number in range(5000):
        assert queues.put(str(number), number, 1)
        queues.take()
    assert len(queues._queues) < 1100


def test_a_queue_that_is_full_turns_away() -> None:
    queues: FairQueues[int] = FairQueues(Queuing(4, 2, 3))
    assert [queues.put("a", n, 1) for n in range(7)] == [True] * 6 + [False]


@settings(max_examples=200, deadline=None)
@given(
    st.lists(
        st.tuples(
            st.sampled_from(["arrive", "leave"]),
            st.sampled_from(["a", "b", "c"]),
            st.integers(1, 5),
            st.integers(0, 50),
        ),
        max_size=120,
    ),
    st.integers(4, 30),
)
def test_no_more_runs_than_there_are_seats_and_nobody_is_lost(
    steps: list[tuple[str, str, int, int]], total: int
) -> None:
    seats = Seats(total)
    seats.configure(
        [
            Level("a", shares=10, lendable_percent=50, queuing=QUEUING),
            Level("b", shares=20, lendable_percent=90, borrowing_percent=50, queuing=QUEUING),
            Level("c", shares=5),
        ]
    )
    nominal = sum(level.limits.nominal for level in seats.levels.values())
    present: list[Ticket] = []
    for kind, level, width, pick in steps:
        if kind == "arrive":
            ticket = arrive(seats, level, str(pick % 7), width)
            present += [ticket] if ticket is not None else []
        elif present:
            seats.leave(present.pop(pick % len(present)), 1.0)
            seats.dispatch(1.0)
        running = [ticket for ticket in present if ticket.running]
        assert sum(ticket.seats for ticket in running) <= nominal
        assert seats.waiting == len(present) - len(running)
        for entry in seats.levels.values():
            assert entry.used == sum(ticket.seats for ticket in running if ticket.level is entry)
            assert entry.used <= entry.limits.upper
        assert seats._taken == sum(entry.borrowed for entry in seats.levels.values())
    while present:
        ticket = next(ticket for ticket in present if ticket.running)
        present.remove(ticket)
        seats.leave(ticket, 2.0)
        seats.dispatch(2.0)
    assert seats.waiting == 0


def two_levels() -> Seats:
    """10 seats for each; `lender` keeps 4."""
    seats = Seats(20)
    seats.configure(
        [
            Level("lender", shares=10, lendable_percent=60, queuing=QUEUING),
            Level("borrower", shares=10, queuing=QUEUING),
        ]
    )
    return seats


def test_idle_seats_are_borrowed_and_those_never_lent_are_there_at_once() -> None:
    seats = two_levels()
    running = [arrive(seats, "borrower") for _ in range(30)]
    assert sum(ticket is not None and ticket.running for ticket in running) == 16
    own = [arrive(seats, "lender") for _ in range(6)]
    assert [ticket is not None and ticket.running for ticket in own] == [True] * 4 + [False] * 2


def test_an_owner_that_waits_comes_before_borrowers() -> None:
    seats = two_levels()
    running = [
        ticket for ticket in (arrive(seats, "borrower") for _ in range(30)) if ticket is not None and ticket.running
    ]
    waiting = [arrive(seats, "lender") for _ in range(6)][4:]
    seats.leave(running[0], 0.0)
    started = seats.dispatch(0.0)
    assert [ticket.level.level.name for ticket in started] == ["lender"]
    assert started[0] in waiting


def test_a_level_without_queues_turns_away_and_exempt_ones_never() -> None:
    seats = Seats(2)
    seats.configure([Level("c", shares=1), Level("x", exempt=True, shares=0)])
    assert [arrive(seats, "c") is not None for _ in range(3)] == [True, True, False]
    assert all(arrive(seats, "x") is not None for _ in range(100))


def test_who_waits_in_a_level_that_changes_or_ends_is_served_all_the_same() -> None:
    seats = Seats(2)
    seats.configure([Level("a", shares=1, queuing=QUEUING)])
    first = [arrive(seats, "a") for _ in range(4)]
    seats.configure([Level("a", shares=1)])
    seats.configure([Level("b", shares=1)])
    assert first[0] is not None
    assert first[1] is not None
    seats.leave(first[0], 0.0)
    seats.leave(first[1], 0.0)
    assert seats.dispatch(0.0) == first[2:]
    seats.configure([Level("b", shares=1)])
    assert set(seats.levels) == {"b"}
