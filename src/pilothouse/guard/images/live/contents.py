"""The node's part: manifests, and records of layers read by the worker from containerd's own store."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path
from typing import Final

import msgspec

from pilothouse.guard.images.live.kept import Listed
from pilothouse.guard.images.model import BaseImage, Layer, NotReadable
from pilothouse.guard.images.scan.reader import LayerReader
from pilothouse.guard.images.source.content import ContentStore
from pilothouse.guard.images.source.image import host_platform, verified

_IDLE_SECONDS: Final = 20.0

Resolve = Callable[[str], Awaitable[str | None]]
"""The digest that an image's name or id stands for."""
List = Callable[[], Awaitable[Sequence[Listed]]]
"""Every image of the runtime. Raises LookupError when it does not answer."""


class Described(msgspec.Struct, frozen=True):
    """An image as a node tells of it."""

    digest: str
    layers: tuple[Layer, ...]
    user: str = ""
    env: tuple[str, ...] = ()
    created: str = ""
    base: BaseImage | None = None


class NodeContents:
    """Answers for the images of one node. One layer is read at a time; the worker ends when no more is asked."""

    def __init__(self, root: Path, resolve: Resolve, list_images: List) -> None:
        self._store = ContentStore(root)
        self._list = list_images
        self._resolve = resolve
        self._busy = asyncio.Lock()
        self._reader: LayerReader | None = None
        self._ending: asyncio.TimerHandle | None = None

    async def listed(self) -> bytes:
        """Raises LookupError."""
        return msgspec.json.encode(await self._list())

    async def manifest(self, name: str) -> bytes:
        """Raises LookupError."""
        digest = await self._resolve(name)
        if not digest:
            raise LookupError(f"containerd has no image {name}")
        return await asyncio.to_thread(self._described, name, digest)

    def _described(self, name: str, digest: str) -> bytes:
        try:
            image = self._store.image(name, digest, host_platform())
        except (NotReadable, OSError) as error:
            raise LookupError(str(error)) from error
        config = image.config
        described = Described(image.digest, image.layers, config.user, config.env, config.created, config.base)
        return msgspec.json.encode(described)

    async def layer(self, digest: str) -> bytes:
        """Raises LookupError."""
        async with self._busy:
            if self._ending is not None:
                self._ending.cancel()
            self._reader = self._reader or LayerReader()
            try:
                return await asyncio.to_thread(self._read, self._reader, digest)
            finally:
                self._ending = asyncio.get_running_loop().call_later(_IDLE_SECONDS, self.close)

    def _read(self, reader: LayerReader, digest: str) -> bytes:
        try:
            record = reader.read(lambda: verified(self._store.open(digest), digest, f"layer {digest[:19]}"))
        except (NotReadable, OSError) as error:
            raise LookupError(str(error)) from error
        return msgspec.json.encode(record)

    def close(self) -> None:
        """Ends the worker."""
        if self._reader is not None and not self._busy.locked():
            self._reader.close()
            self._reader = None
