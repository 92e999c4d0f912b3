"""How many seats each priority level has, of how many it may lend and borrow. Pure.

Source: `flowcontrol.apiserver.k8s.io/v1` PriorityLevelConfiguration.
"""

from __future__ import annotations

from collections.abc import Iterable
from math import ceil
from typing import NamedTuple

from pilothouse.apiserver.flow_control.classify import CATCH_ALL, EXEMPT
from pilothouse.machinery.objects import Obj

_DEFAULT_SHARES = 30
_DEFAULT_QUEUES, _DEFAULT_HAND, _DEFAULT_LENGTH = 64, 8, 50


class Queuing(NamedTuple):
    """How many queues, how many of them a flow is dealt, and how many requests fit into one."""

    queues: int = _DEFAULT_QUEUES
    hand: int = _DEFAULT_HAND
    length: int = _DEFAULT_LENGTH


class Level(NamedTuple):
    """A PriorityLevelConfiguration. `queuing` is None for a level that turns away what finds no seat."""

    name: str
    uid: str = ""
    exempt: bool = False
    shares: int = _DEFAULT_SHARES
    lendable_percent: int = 0
    borrowing_percent: int | None = None
    queuing: Queuing | None = None


class Limits(NamedTuple):
    """Seats of a level: its own, those of them that nobody else may take, and the most it may ever have."""

    nominal: int
    lower: int
    upper: int


def read_level(tree: Obj) -> Level:
    """Raises AttributeError, KeyError, TypeError or ValueError for what is no PriorityLevelConfiguration."""
    spec, meta = tree["spec"], tree["metadata"]
    name, uid = meta["name"], meta.get("uid") or ""
    exempt = spec["type"] == "Exempt"
    said = spec.get("exempt" if exempt else "limited") or {}
    shares = said.get("nominalConcurrencyShares")
    response = said.get("limitResponse") or {}
    queuing = response.get("queuing") or {}
    queues = max(1, int(queuing.get("queues") or _DEFAULT_QUEUES))
    borrowing = said.get("borrowingLimitPercent")
    return Level(
        name,
        uid,
        exempt,
        int(shares) if shares is not None else 0 if exempt else _DEFAULT_SHARES,
        int(said.get("lendablePercent") or 0),
        int(borrowing) if borrowing is not None else None,
        Queuing(
            queues,
            min(queues, max(1, int(queuing.get("handSize") or _DEFAULT_HAND))),
            max(1, int(queuing.get("queueLengthLimit") or _DEFAULT_LENGTH)),
        )
        if response.get("type") == "Queue"
        else None,
    )


def with_mandatory(levels: Iterable[Level]) -> dict[str, Level]:
    """By name; the mandatory levels are there even before they are stored."""
    found = {EXEMPT: Level(EXEMPT, exempt=True, shares=0), CATCH_ALL: Level(CATCH_ALL, shares=5)}
    return found | {level.name: level for level in levels}


def limits(levels: Iterable[Level], seats: int) -> dict[str, Limits]:
    """The seats of the server parted among levels by their shares, rounded up; every limited level has one at least."""
    levels = list(levels)
    shares = sum(level.shares for level in levels) or 1
    nominal = {level.name: max(0 if level.exempt else 1, ceil(seats * level.shares / shares)) for level in levels}
    found = {}
    for level in levels:
        own = nominal[level.name]
        lendable = round(own * level.lendable_percent / 100)
        borrowed = seats if level.borrowing_percent is None else round(own * level.borrowing_percent / 100)
        found[level.name] = Limits(own, own - lendable, min(own + borrowed, max(seats, own)))
    return found
