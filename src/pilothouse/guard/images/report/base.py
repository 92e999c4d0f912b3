"""What an image has of its base: how old that is, which flaws come from it, and which a newer one lacks."""

from __future__ import annotations

import datetime as dt
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from pilothouse.guard.images.match.flaw import Flaw
from pilothouse.guard.images.match.result import Result
from pilothouse.guard.images.model import Inventory

_OLD_DAYS: Final = 90
_DAY: Final = 86400.0


@dataclass(frozen=True, slots=True)
class Newer:
    """A newer base that was scanned too."""

    name: str
    digest: str
    flaws: frozenset[tuple[str, str, str]]
    """Id, type and package of each."""
    layers: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class OfBase:
    """What is told of an image's base; `days` is its age, None when that is not known."""

    name: str
    digest: str
    layers: int
    created: str
    days: int | None
    flaws: tuple[Flaw, ...]
    newer: Newer | None = None
    same: bool = False
    """The newer base is the one that the image is built on."""
    lacking: tuple[Flaw, ...] = ()

    @property
    def fixable(self) -> int:
        """Number of its flaws that have a fix."""
        return sum(bool(flaw.fixed) for flaw in self.flaws)

    @property
    def outdated(self) -> bool:
        """Whether building again on a newer base promises something: a fix, or what months have brought."""
        return bool(self.fixable) or (self.days or 0) > _OLD_DAYS

    def sentence(self) -> str:
        """All of it for people, on one line."""
        about = f"built on {self.name or 'a base'}"
        if self.layers:
            about += f" ({_many(self.layers, 'layer')}{self._age()})"
        parts = [about]
        if self.layers and self.flaws:
            fixes = f", {self.fixable} of them with a fix" if self.fixable else ""
            parts.append(f"{_many(len(self.flaws), 'flaw')} from it{fixes}")
        parts.append(self._advice())
        return "; ".join(part for part in parts if part)

    def _age(self) -> str:
        return f", made {self.created[:10]}, {_many(self.days, 'day')} ago" if self.days is not None else ""

    def _advice(self) -> str:
        if self.newer is not None:
            if self.same:
                return f"{self.newer.name} is still this base: there is no newer one"
            return f"{self.newer.name} as it is now lacks {len(self.lacking)} of them: build again on it"
        if self.outdated:
            named = f" (--base {self.name} tells what a newer one lacks)" if self.name else ""
            return f"build again on a newer one{named}"
        return ""


def of_base(inventory: Inventory, flaws: Sequence[Flaw], now: float, newer: Newer | None = None) -> OfBase | None:
    """What is to be told of an image's base; None where nothing is known of one. `now` is in seconds since 1970."""
    base = inventory.base
    if base is None:
        return None
    created = inventory.layers[base.layers - 1].created if 0 < base.layers <= len(inventory.layers) else ""
    own = tuple(flaw for flaw in flaws if flaw.layers and max(flaw.layers) < base.layers)
    same = newer is not None and bool(newer.layers) and _layers(inventory)[: len(newer.layers)] == newer.layers
    lacking = tuple(flaw for flaw in own if newer and not same and _key(flaw) not in newer.flaws)
    return OfBase(base.name, base.digest, base.layers, created, _days(created, now), own, newer, same, lacking)


def newer_of(name: str, result: Result) -> Newer:
    """A scanned base under the name it was asked for by."""
    inventory = result.inventory
    return Newer(name, inventory.digest, frozenset(_key(flaw) for flaw in result.flaws), _layers(inventory))


def _key(flaw: Flaw) -> tuple[str, str, str]:
    return flaw.id, flaw.type, flaw.package


def _layers(inventory: Inventory) -> tuple[str, ...]:
    return tuple(layer.diff_id or layer.digest for layer in inventory.layers)


def _days(created: str, now: float) -> int | None:
    try:
        moment = dt.datetime.fromisoformat(created.replace("Z", "+00:00")).timestamp()
    except ValueError:
        return None
    # Reproducible builds are dated 1970, or by their sources: an age of decades says nothing.
    return max(0, int((now - moment) / _DAY)) if moment > _DAY * 365 else None


def _many(number: int, noun: str) -> str:
    return f"{number} {noun}{'' if number == 1 else 's'}"
