"""Images that nodes keep, whether or not something runs them. Pure."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from typing import Final

import msgspec

from pilothouse.guard.images.live.uses import image_key
from pilothouse.kinds.core.node import Node

MOST: Final = 2_000
"""Images that are read although nothing runs them; of more it is told that they are not."""


class Listed(msgspec.Struct, frozen=True):
    """An image as a node's runtime lists it: `ids` are what the status of a container of it may say."""

    ids: tuple[str, ...]
    names: tuple[str, ...] = ()


@dataclass(slots=True)
class Kept:
    """One image and the nodes that keep it."""

    ids: tuple[str, ...]
    names: tuple[str, ...] = ()
    nodes: tuple[str, ...] = ()


def listed_in(node: Node) -> list[Listed]:
    """What a Node object tells: of the largest images only, and of those that have a digest."""
    found = []
    for image in node.status.images:
        ids = tuple(name for name in image.names if "@" in name)
        if ids:
            found.append(Listed(ids, tuple(name for name in image.names if "@" not in name)))
    return found


def kept(by_node: Mapping[str, Iterable[Listed]], running: Collection[str]) -> dict[str, Kept]:
    """Images that nothing runs, by what tells them apart."""
    found: dict[str, Kept] = {}
    for node, images in sorted(by_node.items()):
        for image in images:
            keys = [image_key(name) for name in image.ids]
            if not keys or any(key in running for key in keys):
                continue
            entry = found.setdefault(keys[0], Kept(image.ids))
            entry.names = tuple(dict.fromkeys((*entry.names, *image.names)))
            entry.nodes = tuple(dict.fromkeys((*entry.nodes, node)))
    return found
