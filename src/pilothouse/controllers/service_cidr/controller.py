"""Says of every ServiceCIDR that it is ready, and lets one go when no Service needs it any longer."""

from __future__ import annotations

from collections.abc import Collection

from pilothouse.controllers.conditions import find, with_condition
from pilothouse.controllers.context import Context
from pilothouse.controllers.service_address.controller import addresses_of
from pilothouse.controllers.service_cidr.decide import FINALIZER, TERMINATING, condition, may_go
from pilothouse.kinds.core.service import Service
from pilothouse.kinds.families import IPV4
from pilothouse.kinds.networking.service_cidr import ServiceCIDR
from pilothouse.kinds.view import Condition, to_tree
from pilothouse.machinery.errors import NotFound
from pilothouse.machinery.objects import Obj
from pilothouse.reconcile.queue import KeyedQueue, work

NAME = "service-cidrs-controller"


async def run(context: Context, served: Collection[str] = (IPV4,)) -> None:
    """Keeps ServiceCIDRs until cancelled; `served` are the families of the cluster's own ranges."""
    ranges = context.informers.of(ServiceCIDR)
    services = context.informers.of(Service)
    queue = KeyedQueue()

    async def reconcile(key: str) -> None:
        cidr = ranges.get(key)
        if cidr is None:
            return
        if cidr.metadata.deletion_timestamp is None:
            if FINALIZER not in cidr.metadata.finalizers:
                await _patch(context, cidr, {"metadata": {"finalizers": [*cidr.metadata.finalizers, FINALIZER]}})
            await _say(context, cidr, condition(cidr, served))
        elif FINALIZER in cidr.metadata.finalizers:
            # Asked for afresh: nothing is given out of the range since it is being deleted.
            current = (await context.client.list(Service)).items
            held = [address for service in current for address in addresses_of(service)]
            if may_go(cidr, ranges, held):
                left = [name for name in cidr.metadata.finalizers if name != FINALIZER]
                await _patch(context, cidr, {"metadata": {"finalizers": left}})
            else:
                await _say(context, cidr, TERMINATING)

    def changed(key: str, old: ServiceCIDR | None, new: ServiceCIDR | None) -> None:
        queue.add(key)
        _look_at_going()

    def service_changed(key: str, old: Service | None, new: Service | None) -> None:
        if addresses_of(old) != addresses_of(new):
            _look_at_going()

    def _look_at_going() -> None:
        for cidr in ranges:
            if cidr.metadata.deletion_timestamp is not None:
                queue.add(cidr.name)

    await context.informers.synced(ServiceCIDR, Service)
    ranges.subscribe(changed)
    services.subscribe(service_changed)
    await work(NAME, queue, reconcile, workers=1)


async def _say(context: Context, cidr: ServiceCIDR, new: Condition) -> None:
    old = find(cidr.status.conditions, new.type)
    if old is not None and (old.status, old.reason, old.message) == (new.status, new.reason, new.message):
        return
    conditions = with_condition(cidr.status.conditions, new, context.now())
    # Conditions of this kind must have a reason, if an empty one: clients refuse to read them without.
    trees = [{"reason": "", "message": "", **to_tree(entry)} for entry in conditions]
    tree: Obj = {"status": {"conditions": trees}}
    await _patch(context, cidr, tree, "status")


async def _patch(context: Context, cidr: ServiceCIDR, tree: Obj, subresource: str = "") -> None:
    metadata = {**tree.get("metadata", {}), "uid": cidr.metadata.uid}
    try:
        await context.client.patch(
            ServiceCIDR, cidr.name, None, {**tree, "metadata": metadata}, subresource=subresource
        )
    except NotFound:
        return
