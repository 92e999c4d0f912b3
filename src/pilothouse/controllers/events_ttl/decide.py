"""Which Events are old enough to go. Pure."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterable
from typing import ClassVar

from pilothouse.kinds.core.event import Event
from pilothouse.kinds.view import Object
from pilothouse.machinery.objects import Resource, parse_timestamp

TTL = dt.timedelta(hours=1)
MOST = 10_000
"""Events kept at most, however young."""


class EventAge(Object):
    """The little of an Event that tells its age, so that a list of thousands decodes fast."""

    resource: ClassVar[Resource] = Event.resource

    last_timestamp: str | None = None
    event_time: str | None = None


def expired(events: Iterable[EventAge], now: dt.datetime, ttl: dt.timedelta = TTL, most: int = MOST) -> list[EventAge]:
    """Events last seen before `now - ttl`, and the oldest beyond `most`. One without a readable time is kept."""
    dated = sorted(((seen, event) for event in events if (seen := _seen(event)) is not None), key=lambda pair: pair[0])
    surplus = len(dated) - most
    return [event for index, (seen, event) in enumerate(dated) if seen < now - ttl or index < surplus]


def _seen(event: EventAge) -> dt.datetime | None:
    text = event.last_timestamp or event.event_time or event.metadata.creation_timestamp
    try:
        return parse_timestamp(text) if text else None
    except ValueError:
        return None
