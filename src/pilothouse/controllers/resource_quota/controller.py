"""Counts, from informers, what namespaces with quotas use, and writes it into the quotas' status for people to read.

Admission does not ask the status: it counts for itself.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from pilothouse.client.informer import Informer, Subscriber
from pilothouse.client.shared import NAMESPACE
from pilothouse.controllers.context import Context
from pilothouse.controllers.metadata import metadata_view
from pilothouse.controllers.resource_quota.decide import status_patch
from pilothouse.kinds.core.persistent_volume_claim import PersistentVolumeClaim
from pilothouse.kinds.core.pod import Pod
from pilothouse.kinds.core.quota.account import Account, Quota
from pilothouse.kinds.core.quota.usage import CLAIMS, PODS, SERVICES, Place, item_of, place_of
from pilothouse.kinds.core.resource_quota import ResourceQuota
from pilothouse.kinds.core.service import Service
from pilothouse.kinds.view import Object
from pilothouse.machinery.errors import NotFound
from pilothouse.machinery.objects import Resource, split_key
from pilothouse.reconcile.custom_resources import follow
from pilothouse.reconcile.queue import KeyedQueue, work

NAME = "resourcequota-controller"
_GATHER_SECONDS = 0.1
"""Changes of objects within it make one write of the status."""
_VIEWS: dict[Place, type[Object]] = {PODS: Pod, SERVICES: Service, CLAIMS: PersistentVolumeClaim}


async def run(context: Context, resources: Sequence[Resource]) -> None:
    """Keeps every quota's status until cancelled; `resources` are the built-in kinds that `count/` may name."""
    controller = Controller(context, resources)
    await context.informers.synced(ResourceQuota)
    controller.subscribe()

    def goes(resource: Resource) -> None:
        context.informers.drop(metadata_view(resource))
        controller.forget(resource)

    follow(context.informers, controller.know, goes)
    await work(NAME, controller.queue, controller.reconcile)


class Controller:
    def __init__(self, context: Context, resources: Iterable[Resource]) -> None:
        self._context = context
        self._resources = {place_of(resource): resource for resource in resources}
        self._quotas = context.informers.of(ResourceQuota)
        self._objects: dict[Place, Informer[Any]] = {}
        self._accounts: dict[str, Account] = {}
        self._custom: set[Place] = set()
        self.queue = KeyedQueue()

    def subscribe(self) -> None:
        self._quotas.subscribe(self._quota_changed)

    def know(self, resource: Resource) -> None:
        """A custom kind has come, which quotas may have been waiting for."""
        if resource.namespaced:
            self._resources[place_of(resource)] = resource
            self._custom.add(place_of(resource))
            self._look_again(place_of(resource))

    def forget(self, resource: Resource) -> None:
        """A custom kind has gone, its objects before it."""
        place = place_of(resource)
        if self._resources.get(place) == resource:
            del self._resources[place]
            self._objects.pop(place, None)
            self._look_again(place)

    def _look_again(self, place: Place) -> None:
        self._accounts.clear()
        for quota in self._quotas:
            if place in Quota(quota).places:
                self.queue.add(quota.key)

    def _quota_changed(self, key: str, old: ResourceQuota | None, new: ResourceQuota | None) -> None:
        if old is None or new is None or old.spec != new.spec:
            self._accounts.pop(split_key(key)[0] or "", None)
        self.queue.add(key)

    def _subscriber(self, place: Place) -> Subscriber[Object]:
        def changed(key: str, old: Object | None, new: Object | None) -> None:
            namespace, _, name = key.partition("/")
            account = self._accounts.get(namespace)
            if account is not None and place in account.places:
                for quota in account.put(place, name, None if new is None else item_of(place, new)):
                    self.queue.add_after(f"{namespace}/{quota}", _GATHER_SECONDS)

        return changed

    async def reconcile(self, key: str) -> float | None:
        quota = self._quotas.get(key)
        if quota is None:
            return None
        await self._watch(Quota(quota).places)
        account = self._accounts.get(quota.namespace) or self._account(quota.namespace)
        if quota.name not in account.quotas:
            return None
        now = self._context.now()
        for name in account.release(now) - {quota.name}:
            self.queue.add(f"{quota.namespace}/{name}")
        patch = status_patch(quota, account.used(quota.name))
        if patch:
            try:
                await self._context.client.patch(
                    ResourceQuota,
                    quota.name,
                    quota.namespace,
                    {"metadata": {"uid": quota.metadata.uid}, "status": patch},
                    subresource="status",
                )
            except NotFound:
                return None
        next_end = min(account.leaving(), default=None)
        return None if next_end is None else max((next_end - now).total_seconds(), _GATHER_SECONDS)

    async def _watch(self, places: Iterable[Place]) -> None:
        """Begins to follow kinds that no quota has named before."""
        for place in places:
            view = _VIEWS.get(place)
            resource = self._resources.get(place)
            if place in self._objects or (view is None and resource is None):
                continue
            informers = self._context.informers
            if view is not None:
                informer: Informer[Any] = informers.of(view)
            else:
                assert resource is not None
                informer = informers.holding(resource) or informers.of(metadata_view(resource))
            if place not in self._custom:
                # A custom kind may go before its first list is in; what is listed then comes through the subscription.
                await informer.synced()
            self._objects[place] = informer
            informer.subscribe(self._subscriber(place))

    def _account(self, namespace: str) -> Account:
        account = Account(Quota(quota) for quota in self._quotas.by_index(NAMESPACE, namespace))
        for place in account.places:
            informer = self._objects.get(place)
            for obj in informer.by_index(NAMESPACE, namespace) if informer is not None else ():
                account.put(place, obj.metadata.name, item_of(place, obj))
        # Of kinds that are not followed yet more will come: kept once all of them are.
        if all(place in self._objects or place not in self._known() for place in account.places):
            self._accounts[namespace] = account
        return account

    def _known(self) -> set[Place]:
        return {*_VIEWS, *self._resources}
