"""Inventories of images, asked of the nodes that keep them; a layer that is known is not asked for."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Final

import msgspec

from pilothouse.client.client import Client
from pilothouse.guard.images.inventory.merge import ImageConfig, assemble
from pilothouse.guard.images.live.contents import Described
from pilothouse.guard.images.live.kept import Listed
from pilothouse.guard.images.model import Inventory, LayerRecord, NotReadable
from pilothouse.guard.images.scan.cache import LayerCache
from pilothouse.machinery.errors import ApiError

_LAYER_SECONDS: Final = 1800.0
_LIST_SECONDS: Final = 30.0


async def inventory_from(client: Client, node: str, name: str, cache: LayerCache) -> Inventory:
    """The inventory of an image that a node keeps, by its name or id. Raises NotReadable."""
    async with _answering(node, _LAYER_SECONDS):
        data = await _get(client, node, "manifest", ("name", name))
        described = msgspec.json.decode(data, type=Described)
        records = [await _record(client, node, layer.digest, cache) for layer in described.layers]
    config = ImageConfig(described.user, described.env, described.created, base=described.base)
    return await asyncio.to_thread(assemble, name, described.digest, config, described.layers, records)


async def images_of(client: Client, node: str) -> list[Listed]:
    """Every image that a node keeps. Raises NotReadable."""
    async with _answering(node, _LIST_SECONDS):
        return msgspec.json.decode(await _get(client, node, "list"), type=list[Listed])


@asynccontextmanager
async def _answering(node: str, seconds: float) -> AsyncIterator[None]:
    """Raises NotReadable when the node does not answer in time, or otherwise than it should."""
    try:
        async with asyncio.timeout(seconds):
            yield
    except ApiError as error:
        raise NotReadable(f"node {node}: {error.message}") from error
    except TimeoutError as error:
        raise NotReadable(f"node {node} did not answer within {seconds:.0f} s") from error
    except msgspec.DecodeError as error:
        raise NotReadable(f"node {node} answered something else: {error}") from error


async def _record(client: Client, node: str, digest: str, cache: LayerCache) -> LayerRecord:
    known = await asyncio.to_thread(cache.get, digest)
    if known is not None:
        return known
    data = await _get(client, node, "layer", ("digest", digest))
    record = await asyncio.to_thread(msgspec.json.decode, data, type=LayerRecord)
    await asyncio.to_thread(cache.put, digest, record)
    return record


async def _get(client: Client, node: str, what: str, *wanted: tuple[str, str]) -> bytes:
    return await client.request("GET", f"/api/v1/nodes/{node}/proxy/images/{what}", query=wanted)
