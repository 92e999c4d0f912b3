"""Asks a kind what is wrong with an object, in a thread where that may take long."""

from __future__ import annotations

import asyncio

from pilothouse.kinds.kind import Kind
from pilothouse.machinery.errors import Cause
from pilothouse.machinery.objects import Obj


async def causes_of(kind: Kind, obj: Obj, old: Obj | None) -> list[Cause]:
    """What is wrong with an object, or with replacing `old` by it. Neither may be changed meanwhile."""
    return await asyncio.to_thread(kind.validate, obj, old) if kind.slow else kind.validate(obj, old)
