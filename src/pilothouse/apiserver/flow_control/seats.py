"""Who may run now: seats of all levels together. Pure; times are seconds of any clock that does not go back.

A level's own seats that it does not lend are always its own. What levels lend is one pool, taken from by any level
that has borrowing left; an owner waiting for its own seats comes before everyone who would borrow.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

from pilothouse.apiserver.flow_control.classify import Schema
from pilothouse.apiserver.flow_control.levels import Level, Limits, limits
from pilothouse.apiserver.flow_control.queues import FairQueues, Queue, settle

_WIDEST_PART = 6
"""No request takes more than this part of its level's seats."""


class Ticket:
    """A request that runs or waits. `wake` is called when one that waited may run."""

    __slots__ = ("flow", "level", "queue", "running", "schema", "seats", "since", "wake")

    def __init__(self, level: LevelSeats, schema: Schema, flow: str, seats: int, since: float) -> None:
        self.level = level
        self.schema = schema
        self.flow = flow
        self.seats = seats
        self.since = since
        """When it came; once it runs, when it began to."""
        self.running = False
        self.queue: Queue[Ticket] | None = None
        self.wake: Callable[[], None] | None = None


class LevelSeats:
    """One level: what it may have, and what it has."""

    def __init__(self, level: Level) -> None:
        self.level = level
        self.limits = Limits(0, 0, 0)
        self.queues: FairQueues[Ticket] | None = None
        self.used = 0

    def configure(self, level: Level, found: Limits) -> None:
        """Takes on another configuration."""
        self.level, self.limits = level, found
        self.renew_queues()

    def renew_queues(self) -> None:
        """Makes the queues that the level is configured to have, unless somebody waits in those it has."""
        wanted = self.level.queuing
        if not self.queues and (self.queues.queuing if self.queues is not None else None) != wanted:
            self.queues = FairQueues(wanted) if wanted is not None else None

    @property
    def borrowed(self) -> int:
        """Seats above those that are its own in any case. The exempt take from nobody."""
        return 0 if self.level.exempt else max(0, self.used - self.limits.lower)

    def width(self, seats: int) -> int:
        return min(seats, max(1, self.limits.nominal // _WIDEST_PART))


class Seats:
    """All levels, sharing `total` seats."""

    def __init__(self, total: int) -> None:
        self.total = total
        self.levels: dict[str, LevelSeats] = {}
        self.waiting = 0
        self._lendable = 0
        self._taken = 0
        """Of what is lent, by owners and others."""

    def configure(self, levels: Iterable[Level]) -> None:
        """Takes on other levels. Those that are gone stay until nobody waits in them."""
        wanted = {level.name: level for level in levels}
        found = limits(wanted.values(), self.total)
        for name, level in wanted.items():
            seats = self.levels.get(name)
            if seats is None:
                seats = self.levels[name] = LevelSeats(level)
            seats.configure(level, found[name])
        for name in [name for name, seats in self.levels.items() if name not in wanted and not seats.queues]:
            del self.levels[name]
        self._lendable = sum(entry.nominal - entry.lower for entry in found.values())
        self._taken = sum(seats.borrowed for seats in self.levels.values())

    def enter(self, ticket: Ticket) -> bool:
        """Lets a request run, or wait (see `Ticket.running`). False when it is to be turned away."""
        level = ticket.level
        ticket.seats = level.width(ticket.seats)
        if level.level.exempt:
            self._start(ticket)
            return True
        if not level.queues and self._free(level, ticket.seats):
            self._start(ticket)
            return True
        if level.queues is None or not level.queues.put(f"{ticket.schema.name}/{ticket.flow}", ticket, ticket.seats):
            return False
        self.waiting += 1
        return True

    def leave(self, ticket: Ticket, now: float) -> None:
        """Gives back the seats of one that ran, or the place of one that waited."""
        level = ticket.level
        if ticket.running:
            ticket.running = False
            self._use(level, -ticket.seats)
            if ticket.queue is not None:
                settle(ticket.queue, ticket.seats, now - ticket.since)
        elif level.queues is not None and level.queues.remove(ticket):
            self.waiting -= 1

    def dispatch(self, now: float) -> list[Ticket]:
        """Those who waited and run from now on: owners of seats first, then borrowers, who take turns."""
        started: list[Ticket] = []
        while self.waiting:
            able = [level for level in self.levels.values() if self._first_fits(level)]
            if not able:
                break
            level = min(able, key=_share_used)
            assert level.queues is not None
            ticket, queue = level.queues.take()
            ticket.queue = queue
            level.renew_queues()
            self.waiting -= 1
            self._start(ticket)
            ticket.since = now
            started.append(ticket)
        return started

    def _start(self, ticket: Ticket) -> None:
        ticket.running = True
        self._use(ticket.level, ticket.seats)

    def _use(self, level: LevelSeats, seats: int) -> None:
        before = level.borrowed
        level.used += seats
        self._taken += level.borrowed - before

    def _first_fits(self, level: LevelSeats) -> bool:
        first = level.queues.first() if level.queues else None
        return first is not None and self._free(level, first[1])

    def _free(self, level: LevelSeats, seats: int) -> bool:
        used = level.used + seats
        if used <= level.limits.lower or level.level.exempt:
            return True
        if used > level.limits.upper:
            return False
        if self._taken - level.borrowed + used - level.limits.lower > self._lendable:
            return False
        return used <= level.limits.nominal or not self._owner_waits(level)

    def _owner_waits(self, besides: LevelSeats) -> bool:
        if not self.waiting:
            return False
        return any(
            level.queues and level.used < level.limits.nominal and level is not besides
            for level in self.levels.values()
        )


def _share_used(level: LevelSeats) -> tuple[bool, float]:
    """Owners of free seats come first, then who has the smallest part of what is its own."""
    return level.used >= level.limits.nominal, level.used / (level.limits.nominal or 1)
