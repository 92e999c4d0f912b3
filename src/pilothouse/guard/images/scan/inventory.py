"""The inventory of an image: known layers from the cache, the others through the worker."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Protocol

import msgspec

from pilothouse.guard.images.inventory.merge import assemble
from pilothouse.guard.images.model import Inventory, Layer, LayerRecord, NotReadable
from pilothouse.guard.images.scan.reader import LayerReader
from pilothouse.guard.images.source.image import Image


class Records(Protocol):
    """Where layer records are kept."""

    def get(self, digest: str) -> LayerRecord | None: ...
    def put(self, digest: str, record: LayerRecord) -> None: ...


Progress = Callable[[Layer, int, int], None]
"""Told a layer, its compressed bytes read so far, and its number; -1 bytes when it was known before."""


def take_inventory(
    image: Image, reader: LayerReader, cache: Records, progress: Progress = lambda layer, done, number: None
) -> Inventory:
    """Raises NotReadable naming the layer."""
    records = []
    for number, layer in enumerate(image.layers):
        record = cache.get(layer.digest)
        if record is None:
            record = _read(image, layer, number, reader, progress)
            cache.put(layer.digest, record)
        else:
            progress(layer, -1, number)
        records.append(record)
    found = assemble(image.name, image.digest, image.config, image.layers, records)
    return msgspec.structs.replace(found, index=image.index)


def _read(image: Image, layer: Layer, number: int, reader: LayerReader, progress: Progress) -> LayerRecord:
    def pieces() -> Iterator[bytes]:
        done = 0
        for piece in image.blob(layer):
            done += len(piece)
            progress(layer, done, number)
            yield piece

    try:
        return reader.read(pieces)
    except NotReadable as error:
        raise NotReadable(f"{image.name}: layer {number} ({layer.digest[:19]}): {error}") from error
