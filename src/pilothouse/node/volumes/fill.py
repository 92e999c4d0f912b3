"""Fills local volumes of this node from others of it, as their PersistentVolumes ask: snapshots, and copies of them.

A volume is copied under another name and takes its own when it is whole, so that a crash leaves nothing half made.
"""

from __future__ import annotations

import asyncio
import errno
import logging
import os
import shutil
from pathlib import Path

from pilothouse.client.client import Client
from pilothouse.client.events import EventRecorder
from pilothouse.kinds.core.persistent_volume import PersistentVolume
from pilothouse.linux.copy_tree import copy_tree, size_of
from pilothouse.machinery.errors import NotFound
from pilothouse.machinery.objects import timestamp
from pilothouse.node.volumes.reclaim import Reclaimer, is_on, partial
from pilothouse.reconcile.queue import KeyedQueue, work
from pilothouse.reconcile.snapshots import FILL_FROM, FILLED, NOT_FILLED, is_filled

log = logging.getLogger(__name__)

_KEPT_FREE = 0.05
"""How much of the file system a copy leaves free: a full disk would drive pods away."""


class CannotFill(Exception):
    """Why a volume cannot be filled; it is told, and not tried again."""


class Filler:
    """Shares with `reclaimer` what it knows of volumes, and tells it what is not to be deleted just now."""

    def __init__(
        self, client: Client, reclaimer: Reclaimer, recorder: EventRecorder, volumes_dir: Path, node_name: str
    ) -> None:
        self._client = client
        self._informer = reclaimer.informer
        self._filling = reclaimer.filling
        self._recorder = recorder
        self._directory = volumes_dir
        self._node_name = node_name
        self._queue = KeyedQueue()

    async def run(self) -> None:
        """Fills until cancelled."""
        self._informer.subscribe(self._seen)
        await work("volume fill", self._queue, self._fill, workers=2)

    def _seen(self, key: str, _old: PersistentVolume | None, new: PersistentVolume | None) -> None:
        if new is not None and _is_asked(new) and is_on(new, self._node_name):
            self._queue.add(key)

    async def _fill(self, key: str) -> float | None:
        volume = self._informer.get(key)
        if volume is None or not _is_asked(volume):
            return None
        began = timestamp()
        self._filling.add(volume.name)
        try:
            left_out = await asyncio.to_thread(self._copy, volume)
        except (CannotFill, OSError) as error:
            why = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
            self._recorder.event(volume, "Warning", "VolumeFillFailed", why)
            await self._tell(volume, NOT_FILLED, why)
            return None
        finally:
            self._filling.discard(volume.name)
        if left_out:
            text = f"{left_out} devices and sockets were left out"
            self._recorder.event(volume, "Warning", "VolumeFilledInPart", text)
        await self._tell(volume, FILLED, began)
        log.info("filled volume %s from %s", volume.name, volume.metadata.annotations[FILL_FROM])
        return None

    async def _tell(self, volume: PersistentVolume, annotation: str, text: str) -> None:
        patch = {"metadata": {"uid": volume.metadata.uid, "annotations": {annotation: text}}}
        try:
            await self._client.patch(PersistentVolume, volume.name, None, patch)
        except NotFound:
            return

    def _copy(self, volume: PersistentVolume) -> int:
        """How much could not be copied. Raises CannotFill, OSError."""
        name = volume.metadata.annotations[FILL_FROM]
        source, target = self._directory / name, self._directory / volume.name
        path = volume.spec.local.path if volume.spec.local is not None else ""
        if "/" in name or name.startswith(".") or Path(path) != target:
            raise CannotFill("only local volumes of one node are filled from one another")
        if target.exists():
            return 0  # whole: the answer to what told so was lost
        if not source.is_dir() or source.is_symlink():
            raise CannotFill(f"there is no volume {name} on this node")
        making = partial(target)
        shutil.rmtree(making, ignore_errors=True)
        disk = shutil.disk_usage(self._directory)
        needed = size_of(source)
        if needed > disk.free - _KEPT_FREE * disk.total:
            raise CannotFill(f"there is no room: it takes {needed} bytes, and {disk.free} are free on this disk")
        try:
            left_out = copy_tree(source, making)
            os.rename(making, target)
        except OSError as error:
            shutil.rmtree(making, ignore_errors=True)
            if error.errno == errno.ENOSPC:
                raise CannotFill("there is no room left on this disk") from error
            raise
        _sync(self._directory)
        return left_out


def _is_asked(volume: PersistentVolume) -> bool:
    waiting = not is_filled(volume) and NOT_FILLED not in volume.metadata.annotations
    return waiting and volume.metadata.deletion_timestamp is None


def _sync(directory: Path) -> None:
    descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
