"""The process that matches for the engine: `python -m pilothouse.guard.images.match.worker DATABASE`.

Its own process, so that neither the work nor the memory it takes is the control process's; it ends when standard input
does.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Final

import msgspec

from pilothouse.guard.images.data.base import Base
from pilothouse.guard.images.data.write import RISK
from pilothouse.guard.images.match.matcher import judge
from pilothouse.guard.images.match.result import reasons_against
from pilothouse.guard.images.model import Inventory, NotReadable, Package, System
from pilothouse.guard.images.scan import frames

_MOST_CHANGED: Final = 20_000


class Judge(msgspec.Struct, frozen=True, tag="judge"):
    """Judges packages; the answer is a list of `Judged`, in order."""

    packages: list[tuple[System | None, Package]]


class Reasons(msgspec.Struct, frozen=True, tag="reasons"):
    """Why inventories (all but their packages' places matter) are not scanned in full; a list of lists of texts."""

    inventories: list[Inventory]


class Changes(msgspec.Struct, frozen=True, tag="changes"):
    """What has changed since a generation; the answer is `Changed`."""

    since: int


class Changed(msgspec.Struct, frozen=True):
    """`packages` is None when so many have changed that all are to be looked at; `feeds` is 0 without data."""

    generation: int
    packages: list[tuple[str, str]] | None
    risk: bool
    feeds: int
    checked: float


class Failed(msgspec.Struct, frozen=True):
    """The request could not be answered."""

    error: str


Request = Judge | Reasons | Changes


def answer(base: Base, request: Request) -> object:
    """What a request is answered with. Raises NotReadable."""
    if isinstance(request, Judge):
        return [judge(base, package, system) for system, package in request.packages]
    if isinstance(request, Reasons):
        return [list(reasons_against(base, inventory)) for inventory in request.inventories]
    return changes(base, request.since)


def changes(base: Base, since: int) -> Changed:
    """What has changed since a generation."""
    generation = base.generation()
    packages: list[tuple[str, str]] | None = []
    for pair in base.changed_since(since) if generation > since else ():
        assert packages is not None
        packages.append(pair)
        if len(packages) > _MOST_CHANGED:
            packages = None
            break
    feeds = base.feeds()
    risk = int(base.meta(RISK) or 0) > since
    return Changed(generation, packages, risk, len(feeds), max((feed.checked for feed in feeds), default=0.0))


def main(arguments: list[str]) -> int:
    """Serves requests until standard input ends."""
    os.nice(5)
    base = Base(Path(arguments[0]))
    decoder = msgspec.msgpack.Decoder(Request)
    while (data := frames.read(sys.stdin.buffer)) is not None:
        try:
            reply = answer(base, decoder.decode(data))
        except NotReadable as error:
            reply = Failed(str(error))
        frames.write(sys.stdout.buffer, msgspec.msgpack.encode(reply))
        sys.stdout.buffer.flush()
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
