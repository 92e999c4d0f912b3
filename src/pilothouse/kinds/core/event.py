"""Event (core/v1, what `kubectl describe` and `kubectl get events` read)."""

from __future__ import annotations

from typing import ClassVar

import msgspec

from pilothouse.kinds.core.object_reference import ObjectReference
from pilothouse.kinds.view import Object, View
from pilothouse.machinery.objects import Resource


class EventSource(View):
    component: str = ""
    host: str = ""


class EventSeries(View):
    count: int = 0
    last_observed_time: str | None = None


class Event(Object):
    resource: ClassVar[Resource] = Resource("", "v1", "Event", "events", True)

    involved_object: ObjectReference = msgspec.field(default_factory=ObjectReference)
    reason: str = ""
    message: str = ""
    source: EventSource = msgspec.field(default_factory=EventSource)
    first_timestamp: str | None = None
    last_timestamp: str | None = None
    count: int = 0
    type: str = ""
    event_time: str | None = None
    series: EventSeries | None = None
    action: str = ""
    related: ObjectReference | None = None
    reporting_component: str = ""
    reporting_instance: str = ""
