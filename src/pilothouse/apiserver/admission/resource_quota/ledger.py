"""What the namespaces that have quotas use of them, read from the store and brought up to date when asked."""

from __future__ import annotations

from typing import Final

import msgspec

from pilothouse.apiserver import codec
from pilothouse.apiserver.authorization.follow import Follower
from pilothouse.kinds.core.persistent_volume_claim import PersistentVolumeClaim
from pilothouse.kinds.core.pod import Pod
from pilothouse.kinds.core.quota.account import Account, Quota
from pilothouse.kinds.core.quota.usage import CLAIMS, PODS, SERVICES, Item, Place, item_of
from pilothouse.kinds.core.resource_quota import ResourceQuota
from pilothouse.kinds.core.service import Service
from pilothouse.kinds.view import Object
from pilothouse.machinery.objects import Obj, Resource
from pilothouse.store.store import Store

_VIEWS: Final[dict[Place, type[Object]]] = {PODS: Pod, SERVICES: Service, CLAIMS: PersistentVolumeClaim}
_DECODERS: Final = {place: msgspec.json.Decoder(view) for place, view in _VIEWS.items()}
_PLAIN: Final = msgspec.json.Decoder(Object)


def item_of_tree(place: Place, tree: Obj) -> Item:
    """As `item_of`, of an object that is about to be written."""
    return item_of(place, msgspec.convert(tree, _VIEWS.get(place, Object)))


def _item_of_bytes(place: Place, value: bytes) -> Item:
    decoder = _DECODERS.get(place, _PLAIN)
    return item_of(place, decoder.decode(value))


class Ledger:
    """Accounts of namespaces, each made when first asked for. Namespaces without quotas cost nothing."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._quotas: dict[str, dict[str, Quota]] = {}
        self._accounts: dict[str, Account] = {}
        self._follow_quotas = Follower(store, ResourceQuota.resource, self._quota_changed, self._drop)
        self._followers: dict[Place, Follower] = {}
        self._decoder = msgspec.json.Decoder(ResourceQuota)

    async def account(self, namespace: str) -> Account | None:
        """The namespace's account as of now, None when it has no quotas.

        What is returned holds until the caller waits for something.
        """
        while True:
            # Each pass may have let others write; after one that brought nothing new, nothing has been missed.
            while await self._catch_up():
                continue
            quotas = self._quotas.get(namespace)
            if not quotas:
                return None
            account = self._accounts.get(namespace)
            if account is not None:
                return account
            account = Account(quotas.values())
            unfollowed = account.places - self._followers.keys()
            for place in unfollowed:
                self._follow(place)
            if not unfollowed:
                self._accounts[namespace] = self._filled(account, namespace)

    def _filled(self, account: Account, namespace: str) -> Account:
        for place in account.places:
            prefix = codec.prefix(_resource(place), namespace)
            for record in self._store.list(prefix):
                account.put(place, record.key[len(prefix) :], _item_of_bytes(place, record.value))
        return account

    async def _catch_up(self) -> bool:
        changed = await self._follow_quotas.catch_up()
        for follower in list(self._followers.values()):
            changed = await follower.catch_up() or changed
        return changed

    def _follow(self, place: Place) -> None:
        def apply(key: str, value: bytes | None) -> None:
            namespace, _, name = key.partition("/")
            account = self._accounts.get(namespace)
            if account is not None and place in account.places:
                account.put(place, name, None if value is None else _item_of_bytes(place, value))

        self._followers[place] = Follower(self._store, _resource(place), apply, self._accounts.clear)

    def _quota_changed(self, key: str, value: bytes | None) -> None:
        namespace, _, name = key.partition("/")
        quotas = self._quotas.setdefault(namespace, {})
        before = quotas.pop(name, None)
        if value is not None:
            quotas[name] = Quota(self._decoder.decode(value))
        elif not quotas:
            del self._quotas[namespace]
        if before is None or value is None or before != quotas[name]:
            self._accounts.pop(namespace, None)

    def _drop(self) -> None:
        self._quotas.clear()
        self._accounts.clear()


def _resource(place: Place) -> Resource:
    """Enough of a resource to find its objects in the store."""
    group, plural = place
    return Resource(group, "", "", plural, True)
