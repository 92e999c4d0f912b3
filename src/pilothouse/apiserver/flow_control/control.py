"""Flow control of an API server: what `ApiServer.handle` asks before it answers, and tells when it has.

In one event loop a request that need not wait is over before the next is looked at, so seats would never run out and a
flood would take every turn of the loop. Seats are therefore given back at the end of the turn: a level runs no more
requests in a turn than it has seats, what came beyond that waits in its queues, and the next turn begins with whose
turn it is by fairness, not by arrival. A watch holds its seats until its first state has been taken.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterator
from math import ceil
from typing import Final, NamedTuple, TypeVar

from pilothouse.apiserver import codec
from pilothouse.apiserver.authorization.follow import Follower
from pilothouse.apiserver.flow_control.classify import Schema, in_order, read_schema, schema_for
from pilothouse.apiserver.flow_control.levels import Level, read_level, with_mandatory
from pilothouse.apiserver.flow_control.measures import FlowMeasures
from pilothouse.apiserver.flow_control.seats import LevelSeats, Seats, Ticket
from pilothouse.apiserver.route import Route
from pilothouse.client.wire import User
from pilothouse.kinds.flowcontrol.flow_schema import FlowSchema
from pilothouse.kinds.flowcontrol.priority_level_configuration import PriorityLevelConfiguration
from pilothouse.machinery.errors import TooManyRequests
from pilothouse.store.store import Store

SEATS: Final = 240
"""Of the server. Upstream has 600, for as many cores as there are; here they share one turn of the event loop."""
WAIT_SECONDS: Final = 15.0
WAITING_BYTES: Final = 64 << 20
"""Bytes of the bodies of all requests that wait."""
_OBJECTS_PER_SEAT, _MOST_SEATS = 100, 10
_SECONDS_PER_OBJECT: Final = 4e-6
"""What sending a list costs the loop, after it was answered: its seats are kept for so long."""
_LONG: Final = frozenset({"exec", "attach", "portforward", "proxy", "log"})
"""Subresources that go on for as long as their users like: not counted, as upstream does not."""
_REMEMBERED: Final = 4096
_LONGEST: Final = 512
T = TypeVar("T")
log = logging.getLogger(__name__)


class Place(NamedTuple):
    """Where a request belongs."""

    schema: Schema
    level: LevelSeats
    flow: str
    headers: dict[str, str]
    """What the client is told of it: identifiers, as names might say too much."""
    dispatched: list[int]
    """How many requests of the schema have run, for `/metrics`."""


class FlowControl:
    """Follows the FlowSchemas and PriorityLevelConfigurations of a store. Made within the running event loop."""

    def __init__(self, store: Store, *, seats: int = SEATS, wait_seconds: float = WAIT_SECONDS) -> None:
        self._store = store
        self._loop = asyncio.get_running_loop()
        self._wait = wait_seconds
        self._seats = Seats(seats)
        self._schemas: dict[str, Schema] = {}
        self._levels: dict[str, Level] = {}
        self._ordered: tuple[Schema, ...] = ()
        self._places: dict[tuple[object, ...], Place] = {}
        self._seen = -1
        self._followers = [
            Follower(store, FlowSchema.resource, self._schema, self._schemas.clear),
            Follower(store, PriorityLevelConfiguration.resource, self._level, self._levels.clear),
        ]
        self._waiting_bytes = 0
        self._ended: list[Ticket] = []
        self._measures = FlowMeasures(self._seats)

    async def place(self, user: User, route: Route) -> Place:
        """Where a request belongs, by the objects as they are now."""
        if self._store.revision != self._seen:
            await self._catch_up()
        return self._place(user, route)

    async def enter(self, place: Place, route: Route, body_bytes: int, objects: int) -> Ticket | None:
        """Returns when the request may run; None for one that is not counted. Its ticket must `leave`.

        `objects` are those that it goes through, 0 or 1 if not many. Raises TooManyRequests.
        """
        if route.subresource in _LONG:
            return None
        schema, level, flow = place.schema, place.level, place.flow
        seats = 1 if objects <= _OBJECTS_PER_SEAT else min(_MOST_SEATS, ceil(objects / _OBJECTS_PER_SEAT))
        ticket = Ticket(level, schema, flow, seats, 0.0)
        if not self._seats.enter(ticket):
            raise self._refused(place, "queue-full" if level.level.queuing is not None else "concurrency-limit")
        if not ticket.running:
            await self._turn(ticket, place, body_bytes)
        place.dispatched[0] += 1
        return ticket

    def leave(self, ticket: Ticket) -> None:
        """The request has been answered."""
        if ticket.seats > 1:
            self._loop.call_later(ticket.seats * _OBJECTS_PER_SEAT * _SECONDS_PER_OBJECT, self._end, ticket)
        else:
            self._end(ticket)

    def lines(self) -> Iterator[str]:
        """For `/metrics`."""
        return self._measures.lines()

    def _end(self, ticket: Ticket) -> None:
        self._ended.append(ticket)
        if len(self._ended) == 1:
            self._loop.call_soon(self._release)

    def _release(self) -> None:
        now = self._loop.time() if self._seats.waiting else 0.0
        for ticket in self._ended:
            self._seats.leave(ticket, now)
        self._ended.clear()
        self._dispatch(now)

    def _dispatch(self, now: float) -> None:
        for ticket in self._seats.dispatch(now):
            assert ticket.wake is not None
            ticket.wake()

    async def _turn(self, ticket: Ticket, place: Place, body_bytes: int) -> None:
        """Waits for its turn."""
        if self._waiting_bytes + body_bytes > WAITING_BYTES:
            self._seats.leave(ticket, 0.0)
            raise self._refused(place, "queue-full")
        began = self._loop.time()
        self._waiting_bytes += body_bytes
        turn: asyncio.Future[None] = self._loop.create_future()
        ticket.wake = _wake(turn)
        try:
            async with asyncio.timeout(self._wait):
                await turn
        except BaseException as error:
            self._give_up(ticket)
            if not isinstance(error, TimeoutError):
                raise
            self._measures.waited(place.schema, self._loop.time() - began, executed=False)
            raise self._refused(place, "time-out") from error
        finally:
            self._waiting_bytes -= body_bytes
        self._measures.waited(place.schema, self._loop.time() - began, executed=True)

    def _give_up(self, ticket: Ticket) -> None:
        """One that waited goes away, perhaps in the moment when it was its turn."""
        now = self._loop.time()
        self._seats.leave(ticket, now)
        self._dispatch(now)

    def _refused(self, place: Place, reason: str) -> TooManyRequests:
        self._measures.rejected(place.schema, reason)
        return TooManyRequests("too many requests, please try again later", retry_after_seconds=1)

    def _place(self, user: User, route: Route) -> Place:
        where = (
            (route.group, route.resource, route.subresource, route.namespace) if route.is_resource else (route.path,)
        )
        key = (user.name, user.groups, route.verb, *where)
        found = self._places.get(key)
        if found is None:
            schema = schema_for(self._ordered, user, route)
            level = self._seats.levels[schema.level]
            told = {
                "x-kubernetes-pf-flowschema-uid": schema.uid,
                "x-kubernetes-pf-prioritylevel-uid": level.level.uid,
            }
            found = Place(schema, level, schema.flow(user, route), told, self._measures.dispatched(schema))
            if len(self._places) >= _REMEMBERED:
                self._places.clear()
            if sum(map(len, where)) <= _LONGEST:
                self._places[key] = found
        return found

    async def _catch_up(self) -> None:
        revision = self._store.revision
        changed = False
        for follower in self._followers:
            changed |= await follower.catch_up()
        if changed:
            levels = with_mandatory(self._levels.values())
            self._seats.configure(levels.values())
            self._ordered = in_order(self._schemas.values(), frozenset(levels))
            self._places.clear()
            self._dispatch(self._loop.time())
        self._seen = revision

    def _schema(self, key: str, value: bytes | None) -> None:
        _keep(self._schemas, key, value, lambda data: read_schema(codec.decode(data)))

    def _level(self, key: str, value: bytes | None) -> None:
        _keep(self._levels, key, value, lambda data: read_level(codec.decode(data)))


def _wake(turn: asyncio.Future[None]) -> Callable[[], None]:
    def wake() -> None:
        if not turn.done():
            turn.set_result(None)

    return wake


def _keep(held: dict[str, T], key: str, value: bytes | None, read: Callable[[bytes], T]) -> None:
    held.pop(key, None)
    if value is None:
        return
    try:
        held[key] = read(value)
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        log.error("%s is left out of flow control, it cannot be read: %s", key, error)
