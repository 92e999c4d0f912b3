"""Deletes the directories of local volumes whose PersistentVolume is being deleted, then lets the object go."""

from __future__ import annotations

import asyncio
import logging
import shutil
from pathlib import Path

from pilothouse.client.client import Client
from pilothouse.client.informer import Informer
from pilothouse.kinds.core.persistent_volume import PersistentVolume
from pilothouse.machinery.errors import NotFound
from pilothouse.reconcile.queue import KeyedQueue, work
from pilothouse.reconcile.snapshots import sources_in_use

log = logging.getLogger(__name__)

FINALIZER = "pilothouse.io/local-volume"
_SOURCE_SECONDS = 2.0
"""Until it is looked again whether others are filled from a volume that is to go."""


class Reclaimer:
    """Watches PersistentVolumes and reclaims those that were made in this node's volumes directory."""

    def __init__(self, client: Client, volumes_dir: Path, node_name: str) -> None:
        self._client = client
        self._node_name = node_name
        self._directory = volumes_dir
        self.informer: Informer[PersistentVolume] = Informer(client, PersistentVolume)
        self._queue = KeyedQueue()
        self.filling: set[str] = set()
        """Volumes that are being filled just now."""

    async def run(self) -> None:
        self.informer.subscribe(self._seen)
        async with asyncio.TaskGroup() as group:
            group.create_task(self.informer.run())
            group.create_task(work("volume reclaim", self._queue, self._reclaim))

    def _seen(self, key: str, _old: PersistentVolume | None, new: PersistentVolume | None) -> None:
        if new is None or new.metadata.deletion_timestamp is None or FINALIZER not in new.metadata.finalizers:
            return
        if is_on(new, self._node_name):
            self._queue.add(key)

    async def _reclaim(self, key: str) -> float | None:
        volume = self.informer.get(key)
        if volume is None or volume.metadata.deletion_timestamp is None or volume.spec.local is None:
            return None
        path = Path(volume.spec.local.path)
        # Only a directory of this very node, directly in its volumes directory and named as the volume, is deleted.
        if path.parent != self._directory or path.name != volume.name or FINALIZER not in volume.metadata.finalizers:
            return None
        if volume.name in self.filling or volume.name in sources_in_use(self.informer):
            return _SOURCE_SECONDS
        await asyncio.to_thread(_delete, path)
        await asyncio.to_thread(_delete, partial(path))
        finalizers = [name for name in volume.metadata.finalizers if name != FINALIZER]
        patch = {"metadata": {"finalizers": finalizers, "resourceVersion": volume.metadata.resource_version}}
        try:
            await self._client.patch(PersistentVolume, volume.name, None, patch)
        except NotFound:
            return None
        log.info("deleted local volume %s", path)
        return None


def is_on(volume: PersistentVolume, node_name: str) -> bool:
    """True when the volume's node affinity names this node: other nodes keep theirs under the same path."""
    affinity = volume.spec.node_affinity
    terms = affinity.required.node_selector_terms if affinity is not None and affinity.required is not None else []
    return any(
        expression.key == "kubernetes.io/hostname" and node_name in expression.values
        for term in terms
        for expression in term.match_expressions
    )


def partial(path: Path) -> Path:
    """Where a volume is while it is filled."""
    return path.with_name(f".filling-{path.name}")


def _delete(path: Path) -> None:
    if path.is_symlink():
        path.unlink()
    elif path.is_dir():
        shutil.rmtree(path)
