"""Deletes old Events, a few at a time."""

from __future__ import annotations

import asyncio
import logging

from pilothouse.controllers.context import Context
from pilothouse.controllers.events_ttl.decide import EventAge, expired
from pilothouse.machinery.errors import ApiError, NotFound

NAME = "events-ttl-controller"
_PERIOD_SECONDS = 300.0
"""Looking rarely is enough, as an Event may live a few minutes longer; watching all Events would cost more."""
log = logging.getLogger(__name__)


async def run(context: Context) -> None:
    """Looks for old Events now and every few minutes, until cancelled."""
    while True:
        try:
            await sweep(context)
        except ApiError as error:
            log.warning("%s: %s", NAME, error)
        await asyncio.sleep(_PERIOD_SECONDS)


async def sweep(context: Context) -> int:
    """Deletes what has expired; returns how many Events that were."""
    page = await context.client.list(EventAge)
    old = expired(page.items, context.now())
    for event in old:
        try:
            await context.client.delete(
                EventAge, event.name, event.namespace, resource_version=event.metadata.resource_version
            )
        except NotFound:
            continue
        except ApiError as error:
            # Repeated meanwhile, so no longer old; or the server is busy and the next sweep will do.
            log.debug("%s: %s", event.key, error)
    return len(old)
