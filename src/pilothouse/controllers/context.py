"""What every controller is given: an identity, a shared view of the world, a way to tell people, and the time."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable
from dataclasses import dataclass

from pilothouse.client.client import Client
from pilothouse.client.events import EventRecorder
from pilothouse.client.shared import SharedInformers


def utc_now() -> dt.datetime:
    return dt.datetime.now(dt.UTC)


@dataclass(frozen=True, slots=True)
class Context:
    """One controller's means. `client` carries the controller's own identity and so its rights."""

    client: Client
    informers: SharedInformers
    events: EventRecorder
    now: Callable[[], dt.datetime] = utc_now
