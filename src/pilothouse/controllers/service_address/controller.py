"""Keeps an IPAddress for every address a Service has, and none that no Service has.

The API server gives Services their addresses and knows what is in use from the Services themselves; these objects
follow (docs/decisions/0056). Upstream's server repairs them the same way.
"""

from __future__ import annotations

from pilothouse.controllers.context import Context
from pilothouse.kinds.core.service import Service
from pilothouse.kinds.networking.ip_address import ALLOCATOR, FAMILY, MANAGED_BY, IPAddress
from pilothouse.machinery.errors import AlreadyExists, Conflict, NotFound
from pilothouse.machinery.objects import Obj
from pilothouse.reconcile.queue import KeyedQueue, work

NAME = "service-address-controller"


async def run(context: Context) -> None:
    """Keeps the objects until cancelled. Keys are addresses."""
    controller = Controller(context)
    await context.informers.synced(Service, IPAddress)
    controller.subscribe()
    await work(NAME, controller.queue, controller.reconcile, workers=4)


def addresses_of(service: Service | None) -> list[str]:
    """The cluster addresses a Service has."""
    if service is None:
        return []
    found = [service.spec.cluster_ip, *service.spec.cluster_ips]
    return [address for address in dict.fromkeys(found) if address and address != "None"]


class Controller:
    def __init__(self, context: Context) -> None:
        self._client = context.client
        self._services = context.informers.of(Service)
        self._addresses = context.informers.of(IPAddress)
        self._holders: dict[str, Service] = {}
        self.queue = KeyedQueue()

    def subscribe(self) -> None:
        self._services.subscribe(self._service_changed)
        self._addresses.subscribe(lambda key, old, new: self.queue.add(key))

    def _service_changed(self, key: str, old: Service | None, new: Service | None) -> None:
        for address in addresses_of(old):
            if (holder := self._holders.get(address)) is not None and holder.key == key:
                del self._holders[address]
                self.queue.add(address)
        for address in addresses_of(new):
            assert new is not None
            self._holders[address] = new
            self.queue.add(address)

    async def reconcile(self, address: str) -> float | None:
        holder, current = self._holders.get(address), self._addresses.get(address)
        if current is not None:
            if current.metadata.labels.get(MANAGED_BY) != ALLOCATOR or _is_of(current, holder):
                return None
            # What it belongs to cannot be changed.
            await self._delete(current)
        if holder is not None:
            await self._create(address, holder)
        return None

    async def _create(self, address: str, service: Service) -> None:
        family = "IPv6" if ":" in address else "IPv4"
        parent = {"group": "", "resource": "services", "namespace": service.namespace, "name": service.name}
        tree: Obj = {
            "metadata": {"name": address, "labels": {FAMILY: family, MANAGED_BY: ALLOCATOR}},
            "spec": {"parentRef": parent},
        }
        try:
            await self._client.create_tree(IPAddress.resource, tree)
        except AlreadyExists:
            return

    async def _delete(self, current: IPAddress) -> None:
        try:
            await self._client.delete(IPAddress, current.name, uid=current.metadata.uid)
        except (NotFound, Conflict):
            return


def _is_of(address: IPAddress, service: Service | None) -> bool:
    parent = address.spec.parent_ref
    if service is None or parent is None:
        return False
    return (parent.group, parent.resource, parent.namespace, parent.name) == (
        "",
        "services",
        service.namespace,
        service.name,
    )
