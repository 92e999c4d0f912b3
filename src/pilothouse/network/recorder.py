"""Keeps the record of flows while the network runs, and across restarts in a file."""

from __future__ import annotations

import asyncio
import logging
import os
import time
from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path

import orjson

from pilothouse.linux.nflog import PacketLog
from pilothouse.network.base import LOG_GROUP
from pilothouse.network.pods import PodFacts
from pilothouse.network.policy import Plan
from pilothouse.network.record import Record, load

log = logging.getLogger(__name__)

_SAVE_SECONDS = 60.0
_RETRY_SECONDS = 30.0
_FORGET_SECONDS = 1.0

World = Callable[[], tuple[Mapping[str, PodFacts], Plan]]
"""The pods by address, and the policies in force."""


class FlowRecorder:
    """Reads the kernel's log of new and denied flows. `path` is where the record is kept.

    `forget` makes the kernel tell of flows again that it told of within the minute.
    """

    def __init__(
        self, path: Path, world: World, forget: Callable[[], Awaitable[None]], clock: Callable[[], float] = time.time
    ) -> None:
        self._forget = forget
        self._renamed = asyncio.Event()
        self._path = path
        self._world = world
        self._clock = clock
        self.record = self._load()

    async def run(self) -> None:
        """Records until cancelled. A kernel without nfnetlink_log is said once, and tried again."""
        said = False
        while True:
            try:
                packets = PacketLog(LOG_GROUP)
            except OSError as error:
                if not said:
                    log.warning("flows cannot be recorded: %s (kernel module nfnetlink_log, or another reader)", error)
                said = True
                await asyncio.sleep(_RETRY_SECONDS)
                continue
            await self._follow(packets)

    def names_changed(self) -> None:
        """An address means another pod from now on: what was told of it has to be told anew."""
        self._renamed.set()

    async def keep_names(self) -> None:
        """Has flows told anew when addresses changed hands, once a second at most; until cancelled."""
        while True:
            await self._renamed.wait()
            self._renamed.clear()
            try:
                await self._forget()
            except OSError as error:
                log.debug("what the kernel told of could not be forgotten: %s", error)
            await asyncio.sleep(_FORGET_SECONDS)

    async def _follow(self, packets: PacketLog) -> None:
        loop = asyncio.get_running_loop()
        loop.add_reader(packets.fileno(), self._read, packets)
        saved = self._mark()
        try:
            while True:
                await asyncio.sleep(_SAVE_SECONDS)
                if self._mark() != saved:
                    saved = self._mark()
                    text = orjson.dumps(self.record.tree())
                    await asyncio.to_thread(self._save, text)
        finally:
            loop.remove_reader(packets.fileno())
            packets.close()
            self._save(orjson.dumps(self.record.tree()))

    def answer(self) -> bytes:
        """The record as JSON."""
        return orjson.dumps(self.record.tree())

    def _mark(self) -> tuple[int, int, int]:
        record = self.record
        return len(record.flows) + record.dropped, len(record.denials), sum(record.policies.values())

    def _read(self, packets: PacketLog) -> None:
        found, lost = packets.read()
        pods, plan = self._world()
        now = self._clock()
        for packet in found:
            self.record.add(packet, pods, plan, now)
        self.record.lost += lost

    def _load(self) -> Record:
        try:
            return load(orjson.loads(self._path.read_bytes()))
        except FileNotFoundError:
            pass
        except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
            log.warning("%s cannot be used (%r): flows are recorded anew", self._path, error)
        return Record(since=self._clock())

    def _save(self, text: bytes) -> None:
        fresh = self._path.with_suffix(".new")
        try:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            with open(fresh, "wb", opener=lambda path, flags: os.open(path, flags, 0o600)) as file:
                file.write(text)
            fresh.replace(self._path)
        except OSError as error:
            log.warning("the record of flows could not be kept: %s", error)
