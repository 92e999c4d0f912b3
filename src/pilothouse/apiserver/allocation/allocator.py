"""Assigns addresses and ports to Services while they are written.

What is in use follows from the Services in the store: the allocator reads it once and then keeps up by the store's
changes, so nothing can leak. One Service is written at a time, so that no two are given the same.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from pilothouse.apiserver import codec
from pilothouse.apiserver.allocation.choose import SERVICES, InUse, Ranges, assign
from pilothouse.machinery.objects import Obj
from pilothouse.store.store import Compacted, Store, WatchEnded, Watcher

_PREFIX = codec.collection(SERVICES)


class ServiceAllocator:
    """An `Allocator`."""

    def __init__(self, store: Store, ranges: Ranges) -> None:
        self._store = store
        self._ranges = ranges
        self._lock = asyncio.Lock()
        self._in_use = InUse()
        self._watcher: Watcher | None = None
        self._seen = 0

    @asynccontextmanager
    async def allocated(self, new: Obj, old: Obj | None, dry_run: bool) -> AsyncIterator[None]:
        async with self._lock:
            await self._catch_up()
            assign(new, self._in_use, self._ranges)
            yield

    async def _catch_up(self) -> None:
        changed = self._store.changed(_PREFIX)
        while self._watcher is None or self._seen < changed:
            if self._watcher is None:
                self._rebuild()
                return
            try:
                events = await self._watcher.next()
            except (WatchEnded, Compacted):
                self._watcher = None
                continue
            for event in events:
                if event.previous is not None:
                    self._in_use.remove(codec.decode(event.previous.value))
                if not event.deleted:
                    self._in_use.add(codec.decode(event.value))
                self._seen = event.revision

    def _rebuild(self) -> None:
        self._in_use = InUse()
        for record in self._store.list(_PREFIX):
            self._in_use.add(codec.decode(record.value))
        self._seen = self._store.changed(_PREFIX)
        self._watcher = self._store.watch(_PREFIX, self._store.revision)
