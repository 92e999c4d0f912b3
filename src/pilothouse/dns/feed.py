"""The node's end of the line to its dns process: every record when it connects, then each service's changes.

The dns process listens; this end connects, and connects again whenever the line breaks. Messages are lines of JSON:
`{"zones": [...], "snapshot": {OWNER: RECORDS}}` first, then `{"put": {OWNER: RECORDS or null}}`.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import orjson

from pilothouse.client.informer import Informer
from pilothouse.dns.zone import TextRecord, cluster_records, service_records, zones
from pilothouse.kinds.core.service import Service
from pilothouse.kinds.discovery.endpoint_slice import EndpointSlice
from pilothouse.kinds.families import Network

log = logging.getLogger(__name__)

_CLUSTER = "(cluster)"
_DEBOUNCE = 0.005
_RETRY_FIRST, _RETRY_MOST = 0.05, 2.0


class ZoneFeed:
    """Feeds one dns process from the informers of the node's network (`slices` indexed by "service")."""

    def __init__(
        self,
        socket_path: Path,
        domain: str,
        ranges: Iterable[Network],
        services: Informer[Service],
        slices: Informer[EndpointSlice],
        service_keys: Callable[[EndpointSlice], Iterable[str]],
    ) -> None:
        self._path = socket_path
        self._domain = domain
        self._zones = zones(domain, ranges)
        self._services = services
        self._slices = slices
        self._service_keys = service_keys
        self._dirty: set[str] = set()
        self._wake = asyncio.Event()

    async def run(self) -> None:
        """Feeds until cancelled."""
        self._services.subscribe(lambda key, old, new: self._mark(key))
        self._slices.subscribe(self._on_slice)
        await self._services.synced()
        await self._slices.synced()
        wait = _RETRY_FIRST
        while True:
            try:
                reader, writer = await asyncio.open_unix_connection(str(self._path))
            except OSError:
                await asyncio.sleep(wait)
                wait = min(wait * 2, _RETRY_MOST)
                continue
            wait = _RETRY_FIRST
            try:
                await self._feed(reader, writer)
            except OSError as error:
                log.warning("the line to the dns process broke, connecting again: %s", error)
            finally:
                writer.close()
                with contextlib.suppress(OSError):
                    await writer.wait_closed()

    async def _feed(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._dirty.clear()
        snapshot: dict[str, list[TextRecord]] = {_CLUSTER: cluster_records(self._domain)}
        for service in self._services:
            records = self._records(service.key)
            if records:
                snapshot[service.key] = records
        await _send(writer, {"zones": self._zones, "snapshot": snapshot})
        closed = asyncio.create_task(reader.read())
        try:
            while True:
                woken = asyncio.create_task(self._wake.wait())
                await asyncio.wait((woken, closed), return_when=asyncio.FIRST_COMPLETED)
                woken.cancel()
                if closed.done():
                    raise ConnectionResetError("closed by the dns process")
                await asyncio.sleep(_DEBOUNCE)
                self._wake.clear()
                keys, self._dirty = self._dirty, set()
                if keys:
                    await _send(writer, {"put": {key: self._records(key) or None for key in sorted(keys)}})
        finally:
            closed.cancel()

    def _records(self, key: str) -> list[TextRecord]:
        service = self._services.get(key)
        return service_records(service, self._slices.by_index("service", key), self._domain) if service else []

    def _mark(self, key: str) -> None:
        self._dirty.add(key)
        self._wake.set()

    def _on_slice(self, key: str, old: EndpointSlice | None, new: EndpointSlice | None) -> None:
        for slice_ in (old, new):
            for service in self._service_keys(slice_) if slice_ is not None else ():
                found = self._services.get(service)
                # A cluster address's records do not depend on its endpoints.
                if found is None or found.spec.cluster_ip == "None":
                    self._mark(service)


async def _send(writer: asyncio.StreamWriter, tree: Any) -> None:
    writer.write(orjson.dumps(tree) + b"\n")
    await writer.drain()
