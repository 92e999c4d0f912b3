"""One image scanned while a pod waits: `python -m pilothouse.guard.images.door.scan FOLDER IMAGE`; the answer as JSON.

Layers and images that are known are not read again. In its own process: what it costs is over when it is.
"""

from __future__ import annotations

import sys
import time
from pathlib import Path

import msgspec

from pilothouse.guard.images.data.base import Base
from pilothouse.guard.images.door.policy import Facts
from pilothouse.guard.images.fetch import Http
from pilothouse.guard.images.match.result import scanned
from pilothouse.guard.images.model import NotReadable
from pilothouse.guard.images.places import LAYERS, data_file
from pilothouse.guard.images.scan.cache import LayerCache
from pilothouse.guard.images.scan.inventory import take_inventory
from pilothouse.guard.images.scan.reader import LayerReader
from pilothouse.guard.images.source.image import host_platform
from pilothouse.guard.images.source.reference import parse
from pilothouse.guard.images.source.registry import Login, Registry


def answer(folder: Path, name: str) -> Facts:
    """Scans an image of a registry."""
    if not data_file(folder).exists():
        return Facts((), ("there is no vulnerability data",))
    base, cache = Base(data_file(folder)), LayerCache(folder / LAYERS)
    checked = max((feed.checked for feed in base.feeds()), default=0.0)
    try:
        image = Registry(parse(name), Http(), Login()).image(host_platform())
        inventory = cache.image(image.digest)
        if inventory is None:
            with LayerReader() as reader:
                inventory = take_inventory(image, reader, cache)
        result = scanned(base, inventory)
    except (NotReadable, OSError) as error:
        return Facts((), (str(error),))
    finally:
        base.close()
        cache.close()
    digests = tuple(digest for digest in (image.digest, image.index) if digest)
    return Facts(result.flaws, result.not_scanned, (time.time() - checked) / 86400, digests)


def main(arguments: list[str]) -> int:
    """Prints the answer."""
    sys.stdout.buffer.write(msgspec.json.encode(answer(Path(arguments[0]), arguments[1])))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
