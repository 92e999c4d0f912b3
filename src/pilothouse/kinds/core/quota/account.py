"""What the objects of one namespace use of each of its quotas, kept up to date object by object."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterable, Iterator, Mapping

from pilothouse.kinds.core.quota.amounts import Amounts, add, amounts, take
from pilothouse.kinds.core.quota.scopes import requirements, selected
from pilothouse.kinds.core.quota.usage import Item, Place, counted_in, freed
from pilothouse.kinds.core.resource_quota import ResourceQuota
from pilothouse.machinery.quantity import Quantity


class Quota:
    """A ResourceQuota made ready for counting."""

    def __init__(self, quota: ResourceQuota) -> None:
        self.name = quota.name
        self.hard: Amounts = amounts(quota.spec.hard)
        self.places: dict[Place, frozenset[str]] = {}
        """The kinds it counts, and under which names."""
        for name in self.hard:
            place = counted_in(name)
            self.places[place] = self.places.get(place, frozenset()) | {name}
        self._scopes = requirements(quota)

    def __eq__(self, other: object) -> bool:
        """Whether both count the same; the status does not matter."""
        return isinstance(other, Quota) and (self.name, self.hard, self._scopes) == (
            other.name,
            other.hard,
            other._scopes,
        )

    __hash__ = None  # type: ignore[assignment]

    def covers(self, place: Place, item: Item) -> bool:
        """Whether an object counts for it."""
        return place in self.places and all(selected(requirement, item.scopes) for requirement in self._scopes)

    def counted(self, place: Place, usage: Mapping[str, Quantity]) -> Amounts:
        """Of what an object uses, what the quota speaks of."""
        return {name: usage[name] for name in self.places[place] if name in usage}


class Account:
    """`quotas` of one namespace; `put` every object of the kinds in `places`."""

    def __init__(self, quotas: Iterable[Quota]) -> None:
        self.quotas = {quota.name: quota for quota in quotas}
        self.places = frozenset(place for quota in self.quotas.values() for place in quota.places)
        self._items: dict[tuple[Place, str], Item] = {}
        self._by_uid: dict[str, tuple[Place, str]] = {}
        self._leaving: dict[tuple[Place, str], dt.datetime] = {}
        self._used: dict[str, Amounts] = {name: {} for name in self.quotas}

    def put(self, place: Place, name: str, item: Item | None) -> set[str]:
        """Takes an object in, or out (None). Returns the names of the quotas of which more or less is used now."""
        key = place, name
        old = self._items.pop(key, None)
        self._leaving.pop(key, None)
        if old is not None:
            self._by_uid.pop(old.uid, None)
        if item is not None:
            self._items[key] = item
            self._by_uid[item.uid] = key
            if item.free_at is not None:
                self._leaving[key] = item.free_at
        changed: set[str] = set()
        for quota in self.quotas.values():
            before = quota.counted(place, old.usage) if old is not None and quota.covers(place, old) else {}
            after = quota.counted(place, item.usage) if item is not None and quota.covers(place, item) else {}
            if before != after:
                changed.add(quota.name)
                take(self._used[quota.name], before)
                add(self._used[quota.name], after)
        return changed

    def used(self, name: str) -> Amounts:
        """What is used of a quota, by every name in its `hard`."""
        zero = Quantity.parse("0")
        return {key: self._used[name].get(key, zero) for key in self.quotas[name].hard}

    def get(self, place: Place, name: str) -> Item | None:
        return self._items.get((place, name))

    def holds(self, uid: str) -> bool:
        """Whether the object of that uid is counted already."""
        return uid in self._by_uid

    def release(self, now: dt.datetime) -> set[str]:
        """Frees what ended by the passing of time. Returns the quotas concerned."""
        changed: set[str] = set()
        for place, name in [key for key, moment in self._leaving.items() if moment <= now]:
            changed |= self.put(place, name, freed(self._items[place, name]))
        return changed

    def leaving(self) -> Iterator[dt.datetime]:
        """When pods that are going stop counting, at the latest."""
        return iter(self._leaving.values())
