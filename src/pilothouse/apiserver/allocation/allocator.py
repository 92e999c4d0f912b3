"""Assigns addresses and ports to Services while they are written.

What is in use follows from the Services in the store, so nothing can leak. One Service is written at a time, so that no
two are given the same. The IPAddress objects of Services follow from them too (docs/decisions/0056); those that
somebody else made keep their address from Services.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from pilothouse.apiserver import codec
from pilothouse.apiserver.allocation.choose import SERVICES, Foreign, InUse, Ranges, assign
from pilothouse.apiserver.allocation.following import Following
from pilothouse.kinds.networking.ip_address import IPAddress
from pilothouse.kinds.networking.service_cidr import ServiceCIDR
from pilothouse.kinds.view import from_tree
from pilothouse.machinery.objects import Obj
from pilothouse.store.store import Store

_RANGES = codec.collection(ServiceCIDR.resource)


class ServiceAllocator:
    """An `Allocator`."""

    def __init__(self, store: Store, ranges: Ranges) -> None:
        self._store = store
        self._configured = self._ranges = ranges
        self._ranges_seen = 0
        self._lock = asyncio.Lock()
        self._services = Following(store, codec.collection(SERVICES), InUse)
        self._others = Following(store, codec.collection(IPAddress.resource), Foreign)

    @asynccontextmanager
    async def allocated(self, new: Obj, old: Obj | None, dry_run: bool) -> AsyncIterator[None]:
        async with self._lock:
            in_use = await self._services.catch_up()
            in_use.others = (await self._others.catch_up()).addresses
            assign(new, in_use, self._current_ranges(), old)
            yield

    def _current_ranges(self) -> Ranges:
        """The configured range, then those of every ServiceCIDR that is ready, by name."""
        if (changed := self._store.changed(_RANGES)) != self._ranges_seen:
            known: list[ServiceCIDR] = [
                from_tree(ServiceCIDR, codec.decode(record.value)) for record in self._store.list(_RANGES)
            ]
            ready = (entry for entry in known if entry.ready and entry.metadata.deletion_timestamp is None)
            self._ranges = self._configured.with_more(text for entry in ready for text in entry.spec.cidrs)
            self._ranges_seen = changed
        return self._ranges
