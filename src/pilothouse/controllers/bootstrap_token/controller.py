"""Deletes join tokens when their time is over."""

from __future__ import annotations

import asyncio
import base64
import binascii
import datetime as dt

from pilothouse.client.informer import Informer
from pilothouse.controllers.bootstrap_token.create import NAMESPACE, SECRET_TYPE
from pilothouse.controllers.context import Context
from pilothouse.kinds.core.secret import Secret
from pilothouse.machinery.errors import NotFound
from pilothouse.machinery.objects import parse_timestamp
from pilothouse.reconcile.queue import KeyedQueue, work

NAME = "token-cleaner"
_LONGEST_WAIT = 24 * 3600.0


def seconds_left(secret: Secret, now: dt.datetime) -> float | None:
    """Until the token's end, 0 when it is over or cannot be read; None for one without an end."""
    text = secret.data.get("expiration")
    if text is None:
        return None
    try:
        end = parse_timestamp(base64.b64decode(text).decode())
        return max(0.0, (end - now).total_seconds())
    except (binascii.Error, UnicodeDecodeError, ValueError, TypeError):
        return 0.0


async def run(context: Context) -> None:
    """Deletes expired tokens until cancelled."""
    tokens = Informer(context.client, Secret, namespace=NAMESPACE, field_selector=f"type={SECRET_TYPE}")
    queue = KeyedQueue()

    async def reconcile(key: str) -> float | None:
        secret = tokens.get(key)
        left = seconds_left(secret, context.now()) if secret is not None else None
        if secret is None or left is None:
            return None
        if left > 0:
            return min(left, _LONGEST_WAIT)
        try:
            await context.client.delete(Secret, secret.name, secret.namespace, uid=secret.metadata.uid)
        except NotFound:
            return None
        return None

    tokens.subscribe(lambda key, old, new: queue.add(key))
    async with asyncio.TaskGroup() as group:
        group.create_task(tokens.run())
        group.create_task(work(NAME, queue, reconcile))
