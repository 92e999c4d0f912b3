"""Drivers register by a socket in a directory that the node watches; when the socket goes, so does the driver.

Source: Kubernetes' plugin registration API (v1), as `node-driver-registrar` serves it. A driver of an earlier process
of the node registers with the next one by its socket still being there.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import grpc
import grpc.aio
from google.protobuf.message import Message

from pilothouse.linux.inotify import IN_CREATE, IN_DELETE, IN_MOVED_FROM, IN_MOVED_TO, DirectoryWatch
from pilothouse.machinery.errors import ApiError
from pilothouse.node.csi.announce import Announcer
from pilothouse.node.csi.driver import Driver, DriverError
from pilothouse.node.csi.facts import Facts, TopologyConflict
from pilothouse.node.volumes.payload import VolumeError
from pilothouse.node.wire import plugin_registration_pb2 as wire
from pilothouse.reconcile.queue import Backoff

log = logging.getLogger(__name__)

M = TypeVar("M", bound=Message)

CSI_PLUGIN = "CSIPlugin"
_SECONDS = 10.0
_BACKOFF = Backoff(0.5, 120.0)
_GATHER = 0.05
_TOLD = (1, 10)
"""Failures of a registration that are told; those between and after say nothing new."""


class Refused(Exception):
    """The plugin cannot be taken; it is told why."""


@dataclass(slots=True)
class _Registration:
    """A socket that is worked on, or that a driver registered by; `mark` tells one from the next at the same path.

    The facts are there from when they are to be told, the driver from when they have been.
    """

    mark: tuple[int, int]
    task: asyncio.Task[None]
    name: str = ""
    facts: Facts | None = None
    driver: Driver | None = None


class Registry:
    """The drivers of the node. `changed` is called when one came or went."""

    def __init__(self, directory: Path, announcer: Announcer, changed: Callable[[], None]) -> None:
        self._directory = directory
        self._announcer = announcer
        self._changed = changed
        self._sockets: dict[Path, _Registration] = {}
        self._looked = asyncio.Event()
        """Set when every socket that was there at the start has been asked once."""
        self._stale = asyncio.Event()
        self._stale.set()

    def has(self, name: str) -> bool:
        return any(entry.driver is not None and entry.driver.name == name for entry in self._sockets.values())

    async def get(self, name: str) -> Driver:
        """The driver of that name; soon after a start it is given time to register. Raises VolumeError, which names
        those that there are."""
        if not self.has(name) and not self._looked.is_set():
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._looked.wait(), _SECONDS)
        drivers = {entry.driver.name: entry.driver for entry in self._sockets.values() if entry.driver is not None}
        if name not in drivers:
            known = ", ".join(sorted(drivers)) or "none"
            raise VolumeError(
                f"driver name {name} not found in the list of registered CSI drivers of this node (there are: {known})"
            )
        return drivers[name]

    def tell_again(self) -> None:
        """The Node was made anew: what it said of drivers is gone."""
        self._stale.set()

    async def run(self) -> None:
        """Follows the directory until cancelled."""
        self._directory.mkdir(mode=0o750, parents=True, exist_ok=True)
        with DirectoryWatch(self._directory, IN_CREATE | IN_DELETE | IN_MOVED_FROM | IN_MOVED_TO) as watch:
            await self._look()
            first = [entry.task for entry in self._sockets.values()]
            try:
                async with asyncio.TaskGroup() as group:
                    group.create_task(self._follow(watch))
                    group.create_task(self._keep_told(first))
            finally:
                for entry in list(self._sockets.values()):
                    await self._end(entry)

    async def _follow(self, watch: DirectoryWatch) -> None:
        while True:
            await watch.wait()
            await asyncio.sleep(_GATHER)
            watch.pending()
            await self._look()

    async def _look(self) -> None:
        found = await asyncio.to_thread(self._scan)
        for path, entry in list(self._sockets.items()):
            if found.get(path) != entry.mark:
                del self._sockets[path]
                await self._end(entry)
                if entry.driver is not None:
                    log.info("CSI driver %s is gone", entry.driver.name)
                    self._stale.set()
        for path, mark in found.items():
            if path not in self._sockets:
                self._sockets[path] = _Registration(mark, asyncio.create_task(self._register(path)))

    def _scan(self) -> dict[Path, tuple[int, int]]:
        found = {}
        for path in self._directory.iterdir():
            with contextlib.suppress(FileNotFoundError):
                if not path.name.startswith(".") and path.is_socket():
                    state = path.stat()
                    found[path] = (state.st_ino, state.st_ctime_ns)
        return found

    async def _end(self, entry: _Registration) -> None:
        entry.task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await entry.task
        if entry.driver is not None:
            await entry.driver.close()

    async def _register(self, path: Path) -> None:
        """Asks who is at the socket and takes it in; tries until that succeeds or the socket goes."""
        failures = 0
        while True:
            try:
                await self._try(path)
                return
            except (Refused, VolumeError, ApiError, TopologyConflict, OSError, grpc.aio.AioRpcError) as error:
                failures += 1
                if failures in _TOLD:
                    text = error.details() if isinstance(error, grpc.aio.AioRpcError) else str(error)
                    log.warning("plugin at %s does not register: %s", path, text)
            await asyncio.sleep(_BACKOFF.delay(failures))

    async def _try(self, path: Path) -> None:
        async with grpc.aio.insecure_channel(f"unix://{path}") as channel:
            plugin = await _ask(channel, "GetInfo", wire.InfoRequest(), wire.PluginInfo)
            try:
                driver, facts = await self._take(path, plugin)
            except (Refused, VolumeError, ApiError, TopologyConflict, OSError) as error:
                await _notify(channel, str(error))
                raise
            self._sockets[path].driver = driver
            log.info("CSI driver %s registered: it calls this node %s", driver.name, facts.node_id)
            self._changed()
            # What it does with the news is its own business: it is registered.
            with contextlib.suppress(grpc.aio.AioRpcError):
                await _notify(channel, "")

    async def _take(self, path: Path, plugin: wire.PluginInfo) -> tuple[Driver, Facts]:
        problem = _problem(plugin)
        if problem:
            raise Refused(problem)
        driver = Driver(plugin.name, plugin.endpoint or str(path))
        try:
            try:
                info = await driver.info()
            except DriverError as error:
                raise Refused(str(error)) from None
            if not info.node_id:
                raise Refused(f"driver {plugin.name} gives this node no id")
            facts = Facts(info.node_id, info.max_volumes_per_node, dict(info.accessible_topology.segments))
            for other, entry in list(self._sockets.items()):
                if other != path and entry.driver is not None and entry.driver.name == plugin.name:
                    # The later of two by one name counts; the other's socket was left behind.
                    await entry.driver.close()
                    entry.driver = entry.facts = None
            mine = self._sockets[path]
            mine.name, mine.facts = plugin.name, facts
            try:
                await self._announcer.announce(self._facts, keep_others=not self._looked.is_set())
            except BaseException:
                mine.facts = None
                raise
        except BaseException:
            await driver.close()
            raise
        return driver, facts

    def _facts(self) -> dict[str, Facts]:
        return {entry.name: entry.facts for entry in self._sockets.values() if entry.facts is not None}

    async def _keep_told(self, first: list[asyncio.Task[None]]) -> None:
        """Takes back what the API says of drivers that are gone, those of an earlier process among them."""
        if first:
            await asyncio.wait(first, timeout=_SECONDS)
        self._looked.set()
        failures = 0
        while True:
            await self._stale.wait()
            self._stale.clear()
            try:
                await self._announcer.announce(self._facts, keep_others=False)
                failures = 0
                self._changed()
            except (ApiError, TopologyConflict, OSError) as error:
                failures += 1
                if failures in _TOLD:
                    log.warning("the drivers of this node cannot be told: %s", error)
                await asyncio.sleep(_BACKOFF.delay(failures))
                self._stale.set()


async def _ask(channel: grpc.aio.Channel, method: str, request: Message, reply: type[M]) -> M:
    call: Any = channel.unary_unary(
        f"/pluginregistration.Registration/{method}",
        request_serializer=type(request).SerializeToString,
        response_deserializer=reply.FromString,
    )
    result: M = await call(request, timeout=_SECONDS)
    return result


async def _notify(channel: grpc.aio.Channel, problem: str) -> None:
    status = wire.RegistrationStatus(plugin_registered=not problem, error=problem)
    await _ask(channel, "NotifyRegistrationStatus", status, wire.RegistrationStatusResponse)


def _problem(plugin: wire.PluginInfo) -> str:
    if plugin.type != CSI_PLUGIN:
        return f"it is a {plugin.type or 'plugin of no type'}, and this node takes {CSI_PLUGIN}s here"
    if not plugin.name:
        return "it has no name"
    if plugin.endpoint and not plugin.endpoint.startswith("/"):
        return f"endpoint {plugin.endpoint!r} is no absolute path"
    versions = list(plugin.supported_versions)
    if not any(version.removeprefix("v").split(".")[0] == "1" for version in versions):
        return f"it speaks versions {', '.join(versions) or 'none'} of CSI, and this node 1"
    return ""
