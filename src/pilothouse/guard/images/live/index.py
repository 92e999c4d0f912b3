"""From package to images: who is affected when something else is said of a package. No I/O.

Answers are kept for each package once, whatever images have it, packed; an image's flaws are put together from them as
a full scan would (`match.result.combined`), so both are equal.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterable
from typing import TypeAlias

import msgspec

from pilothouse.guard.images.data.names import stands_for
from pilothouse.guard.images.match.flaw import Flaw
from pilothouse.guard.images.match.matcher import Judged
from pilothouse.guard.images.match.result import Told, bare_package, combined, told_of
from pilothouse.guard.images.match.targets import target_of
from pilothouse.guard.images.model import Inventory, Package, Placed, System

Key: TypeAlias = tuple[System | None, Package]
"""A package wherever it is; the system is None for packages of a language, which do not depend on it."""

_SYSTEM_TYPES = ("deb", "apk", "rpm")
_NOTHING = Told()
_MOST_DECODED = 1024
_LARGEST_DECODED = 2048
"""Bytes, packed: some twenty flaws."""


class Index:
    """Images by key, the packages they have, and what was found of each."""

    def __init__(self) -> None:
        self.images: dict[str, Inventory] = {}
        self.reasons: dict[str, tuple[str, ...]] = {}
        self._answers: dict[Key, bytes] = {}
        self._users: dict[Key, set[str]] = {}
        self._by_name: dict[tuple[str, str], set[Key]] = {}
        self._patterns: dict[str, int] = {}
        self._told: dict[tuple[bytes, str, str, int], Told] = {}

    def add(self, image: str, inventory: Inventory) -> None:
        """Takes an image in."""
        self.remove(image)
        self.images[image] = inventory
        for key in keys_of(inventory):
            users = self._users.get(key)
            if users is None:
                users = self._users[key] = set()
                for name in _names(key):
                    self._by_name.setdefault(name, set()).add(key)
                    if "*" in name[0]:
                        self._patterns[name[0]] = self._patterns.get(name[0], 0) + 1
            users.add(image)

    def remove(self, image: str) -> None:
        """Forgets an image, and packages that no other has."""
        inventory = self.images.pop(image, None)
        self.reasons.pop(image, None)
        for key in keys_of(inventory) if inventory is not None else ():
            users = self._users[key]
            users.discard(image)
            if users:
                continue
            del self._users[key]
            self._answers.pop(key, None)
            for name in _names(key):
                self._by_name[name].discard(key)
                if not self._by_name[name]:
                    del self._by_name[name]
                if "*" in name[0]:
                    self._patterns[name[0]] -= 1
                    if not self._patterns[name[0]]:
                        del self._patterns[name[0]]

    def unanswered(self) -> list[Key]:
        """Packages nothing is known of yet."""
        return [key for key in self._users if key not in self._answers]

    def affected(self, changed: Iterable[tuple[str, str]]) -> list[Key]:
        """The packages of which, by ecosystem and name, something else may be said now."""
        found: dict[Key, None] = {}
        for ecosystem, name in changed:
            found.update(dict.fromkeys(self._by_name.get((ecosystem, name), ())))
            for pattern in self._patterns:
                if stands_for(pattern, ecosystem):
                    found.update(dict.fromkeys(self._by_name.get((pattern, name), ())))
        return list(found)

    def all_keys(self) -> list[Key]:
        """Every package."""
        return list(self._users)

    def with_flaws(self) -> list[Key]:
        """The packages that have flaws."""
        return [key for key, data in self._answers.items() if data]

    def answer(self, key: Key, judged: Judged) -> set[str]:
        """Keeps what was found of a package; the images for which that is something else than before."""
        users = self._users.get(key)
        if users is None:
            return set()
        data = _packed(judged)
        if self._answers.get(key) == data:
            return set()
        fresh = key not in self._answers
        self._answers[key] = data
        return set(users) if data or not fresh else set()

    def flaws(self, image: str) -> tuple[tuple[Flaw, ...], tuple[str, ...]]:
        """An image's flaws, worst first, and why it is not scanned in full."""
        inventory = self.images[image]
        flaws, problems = combined(inventory, lambda placed: self._ask(placed, inventory.system))
        return flaws, (*self.reasons.get(image, ()), *problems)

    def release(self) -> None:
        """Gives back the memory that `flaws` takes to be quick for many images of one base."""
        self._told.clear()

    def _ask(self, placed: Placed, system: System | None) -> Told:
        data = self._answers.get(_key(bare_package(placed.package), system))
        if not data:
            return _NOTHING
        spot = (data, placed.package.name, placed.package.path, placed.layer)
        told = self._told.pop(spot, None)
        if told is None:
            told = told_of(_unpacked(data), placed)
            if len(data) > _LARGEST_DECODED:
                return told
            if len(self._told) >= _MOST_DECODED:
                del self._told[next(iter(self._told))]
        self._told[spot] = told  # the last to go: what a base brings is met again with the next image
        return told


def keys_of(inventory: Inventory) -> set[Key]:
    """The packages of an inventory, wherever they are."""
    return {_key(bare_package(placed.package), inventory.system) for placed in inventory.packages}


def _key(package: Package, system: System | None) -> Key:
    return (system if package.type in _SYSTEM_TYPES else None), package


def _names(key: Key) -> list[tuple[str, str]]:
    target = target_of(key[1], key[0])
    if target is None:
        return []
    return [(ecosystem, name) for ecosystem in (*target.ecosystems, *target.paid) for name in target.names]


def _packed(judged: Judged) -> bytes:
    if not judged.flaws and not judged.problems:
        return b""
    return zlib.compress(msgspec.msgpack.encode(judged), 1)


def _unpacked(data: bytes) -> Judged:
    return msgspec.msgpack.decode(zlib.decompress(data), type=Judged)
