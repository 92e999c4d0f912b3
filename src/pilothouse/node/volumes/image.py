"""Image volumes: an image's files, read-only and not executable, at a place of the pod's choice. Source: KEP-4639.

The mount is this node's own, of a snapshot's view, since CRI's way of asking for one is younger than many runtimes. A
note of each view is on disk before the view is made, so that none outlives its pod.
"""

from __future__ import annotations

import asyncio
from pathlib import Path

from pilothouse.kinds.core.pod import Pod
from pilothouse.kinds.core.volume import ImageVolumeSource
from pilothouse.linux.mounts import is_mount, mount_read_only
from pilothouse.node.cri import Runtime, RuntimeFailure
from pilothouse.node.images.keyring import Keyring
from pilothouse.node.images.reference import InvalidImageName, parse
from pilothouse.node.images.snapshots import Snapshots
from pilothouse.node.images.store import ImageInfo, ImageStore, PullFailed
from pilothouse.node.volumes.layout import Layout
from pilothouse.node.volumes.payload import VolumeError

_PATIENCE = 5.0
"""Seconds a pod's worker waits for a pull; after that the pull goes on, and the volume is tried again later."""


class ImageVolumes:
    def __init__(self, runtime: Runtime, store: ImageStore, keyring: Keyring, layout: Layout) -> None:
        self._runtime = runtime
        self._store = store
        self._keyring = keyring
        self._layout = layout

    async def set_up(self, pod: Pod, name: str, source: ImageVolumeSource) -> Path:
        """The directory that shows the image. Raises VolumeError, ApiError, OSError."""
        uid = pod.metadata.uid
        target = self._layout.volume(uid, name)
        if is_mount(target):
            return target
        image = await self._image(pod, source)
        note = self._layout.image_view(uid, name)
        await asyncio.to_thread(_make, note, target)
        try:
            chain_id = await self._runtime.chain_id(image.id)
            mounts = await Snapshots(self._runtime.channel).view(_key(uid, name), chain_id)
        except RuntimeFailure as error:
            raise VolumeError(f'image "{source.reference}" cannot be shown: {error.message}') from error
        for mount in mounts:
            await asyncio.to_thread(mount_read_only, mount.source, target, mount.type, mount.options)
        return target

    async def remove(self, uid: str) -> None:
        """Removes the views of a pod whose mounts are gone. Raises OSError."""
        for note in self._layout.image_views(uid):
            try:
                await Snapshots(self._runtime.channel).remove(_key(uid, note.name))
            except RuntimeFailure as error:
                raise OSError(f"the view of image volume {note.name} is not removed: {error.message}") from error
            note.unlink()

    async def _image(self, pod: Pod, source: ImageVolumeSource) -> ImageInfo:
        try:
            parse(source.reference)
            found = await self._store.find(source.reference)
            if found is not None and source.pull_policy != "Always":
                return found
            if source.pull_policy == "Never":
                raise VolumeError(f'image "{source.reference}" is not present with pull policy of Never')
            credentials = await self._keyring.credentials(pod, source.reference)
            async with asyncio.timeout(_PATIENCE):
                return await self._store.pull(source.reference, credentials)
        except TimeoutError:
            raise VolumeError(f'image "{source.reference}" is being pulled') from None
        except (InvalidImageName, PullFailed) as error:
            raise VolumeError(str(error)) from error
        except RuntimeFailure as error:
            raise VolumeError(f'image "{source.reference}": {error.message}') from error


def _key(uid: str, name: str) -> str:
    return f"pilothouse-volume-{uid}-{name}"


def _make(note: Path, target: Path) -> None:
    target.mkdir(parents=True, exist_ok=True)
    note.parent.mkdir(parents=True, exist_ok=True)
    note.touch()
