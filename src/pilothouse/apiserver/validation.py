"""Asks a kind what is wrong with an object, in a thread where that may take long."""

from __future__ import annotations

import asyncio
from concurrent.futures import ThreadPoolExecutor
from typing import Final

from pilothouse.kinds.kind import Kind
from pilothouse.machinery.errors import Cause
from pilothouse.machinery.objects import Obj

_POOL: Final = ThreadPoolExecutor(2, thread_name_prefix="validation")
"""Of its own, so that costly rules hold up nothing but each other. Its threads start when first needed."""


async def causes_of(kind: Kind, obj: Obj, old: Obj | None) -> list[Cause]:
    """What is wrong with an object, or with replacing `old` by it. Neither may be changed meanwhile."""
    if not kind.slow:
        return kind.validate(obj, old)
    return await asyncio.get_running_loop().run_in_executor(_POOL, kind.validate, obj, old)
