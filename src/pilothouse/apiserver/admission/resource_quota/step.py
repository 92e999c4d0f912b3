"""Refuses what would exceed a quota, and holds what it let through against the quota until it is stored.

Source of the messages: upstream's admission plugin ResourceQuota. Unlike upstream, what is used is counted from the
objects themselves and from the writes under way, not from the quota's status: it is exact, a write that fails uses
nothing, and a new quota counts at once.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Final

import msgspec

from pilothouse.apiserver.admission.limit_ranger import is_resize
from pilothouse.apiserver.admission.refuse import forbidden
from pilothouse.apiserver.admission.resource_quota.ledger import Ledger, item_of_tree
from pilothouse.apiserver.chain import AdmissionRequest
from pilothouse.kinds.core.pod import Pod
from pilothouse.kinds.core.quota.account import Account, Quota
from pilothouse.kinds.core.quota.amounts import Amounts, add, minus, text
from pilothouse.kinds.core.quota.usage import CLAIMS, PODS, SERVICES, Item, Place, place_of, unspecified
from pilothouse.store.store import Store

_ADJUSTABLE: Final = frozenset({SERVICES, CLAIMS})
"""Kinds of which an update may use more than before."""


@dataclass(frozen=True, slots=True, eq=False)
class _Held:
    """A write under way: what it will use beyond what the account shows. `version` is that of the object it changes,
    "" for one that it creates."""

    place: Place
    name: str
    item: Item
    more: Amounts
    version: str

    def is_shown(self, account: Account) -> bool:
        """Whether the account has the write already: it is stored, and its writer is about to be answered."""
        if not self.version:
            return account.holds(self.item.uid)
        found = account.get(self.place, self.name)
        return found is None or found.version != self.version


class ResourceQuotaStep:
    """A `Reserver`."""

    def __init__(self, store: Store) -> None:
        self._ledger = Ledger(store)
        self._held: dict[str, list[_Held]] = {}

    @asynccontextmanager
    async def reserved(self, request: AdmissionRequest) -> AsyncIterator[None]:
        """Raises Forbidden when a quota would be exceeded."""
        held = await self._hold(request) if _counts(request) else None
        if held is None:
            yield
            return
        writes = self._held.setdefault(request.namespace, [])
        writes.append(held)
        try:
            yield
        finally:
            writes.remove(held)
            if not writes:
                self._held.pop(request.namespace, None)

    async def _hold(self, request: AdmissionRequest) -> _Held | None:
        account = await self._ledger.account(request.namespace)
        place = place_of(request.resource)
        tree, old = request.object, request.old_object
        if account is None or place not in account.places or tree is None:
            return None
        account.release(dt.datetime.now(dt.UTC))
        item = item_of_tree(place, tree)
        covering = [quota for _, quota in sorted(account.quotas.items()) if quota.covers(place, item)]
        if place == PODS:
            _check_pod(request, covering)
        before = item_of_tree(place, old).usage if old is not None else {}
        more = {name: minus(amount, before[name]) if name in before else amount for name, amount in item.usage.items()}
        more = {name: amount for name, amount in more.items() if amount.value > 0}
        if not more:
            return None
        for quota in covering:
            self._check(request, account, quota, place, more)
        version = "" if old is None else str(old["metadata"].get("resourceVersion", ""))
        return _Held(place, request.name, item, more, version)

    def _check(self, request: AdmissionRequest, account: Account, quota: Quota, place: Place, more: Amounts) -> None:
        used = account.used(quota.name)
        for held in self._held.get(request.namespace, ()):
            if quota.covers(held.place, held.item) and not held.is_shown(account):
                add(used, quota.counted(held.place, held.more))
        asked = quota.counted(place, more)
        over = [name for name, amount in asked.items() if used[name].value + amount.value > quota.hard[name].value]
        if over:
            raise forbidden(
                request,
                f"exceeded quota: {quota.name}, requested: {text(asked, over)}, used: {text(used, over)},"
                f" limited: {text(quota.hard, over)}",
            )


def _counts(request: AdmissionRequest) -> bool:
    """Whether a write can use more of anything."""
    if is_resize(request):
        return True
    if not request.namespace or request.subresource or request.resource.plural == "namespaces":
        return False
    return request.operation == "CREATE" or (
        request.operation == "UPDATE" and place_of(request.resource) in _ADJUSTABLE
    )


def _check_pod(request: AdmissionRequest, quotas: list[Quota]) -> None:
    """A pod must say what it needs of everything that a quota limits."""
    pod = msgspec.convert(request.object, Pod)
    for quota in quotas:
        why = unspecified(pod, quota.places[PODS])
        if why:
            raise forbidden(request, f"failed quota: {quota.name}: {why}")
