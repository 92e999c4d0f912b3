"""Gives each node its range of pod addresses."""

from __future__ import annotations

from pilothouse.controllers.context import Context
from pilothouse.controllers.node_ipam.decide import RangeExhausted, Ranges, ranges_of
from pilothouse.kinds.core.node import Node
from pilothouse.machinery.errors import NotFound
from pilothouse.reconcile.queue import KeyedQueue, work

NAME = "node-ipam-controller"
_RETRY_SECONDS = 60.0


async def run(context: Context, cluster_range: str, prefix: int = 24) -> None:
    """Allocates until cancelled. One worker: two nodes must never be given the same range."""
    nodes = context.informers.of(Node)
    await nodes.synced()
    queue = KeyedQueue()
    ranges = Ranges(cluster_range, prefix)
    given: dict[str, tuple[str, str]] = {}
    """Uid and range by node name, until the node is gone: the informer may lag behind what was just written."""

    def changed(key: str, old: Node | None, new: Node | None) -> None:
        before, after = (ranges_of(node) if node is not None else set() for node in (old, new))
        ranges.take(after - before)
        ranges.give_up(before - after)
        if new is None:
            forget(key)
        elif not new.spec.pod_cidr:
            queue.add(key)

    def forget(key: str) -> None:
        if key in given:
            ranges.give_up((given.pop(key)[1],))

    async def reconcile(key: str) -> float | None:
        node = nodes.get(key)
        if node is None or node.spec.pod_cidr or node.metadata.deletion_timestamp is not None:
            return None
        uid = node.metadata.uid
        before = given.get(key)
        try:
            # A write whose answer was lost is repeated with the same range: it may have been stored.
            cidr = before[1] if before is not None and before[0] == uid else ranges.free()
        except RangeExhausted as error:
            context.events.event(node, "Warning", "CIDRNotAvailable", str(error))
            return _RETRY_SECONDS
        forget(key)
        given[key] = (uid, cidr)
        ranges.take((cidr,))
        patch = {"metadata": {"uid": uid}, "spec": {"podCIDR": cidr, "podCIDRs": [cidr]}}
        try:
            await context.client.patch(Node, key, None, patch)
        except NotFound:
            forget(key)
        return None

    nodes.subscribe(changed)
    await work(NAME, queue, reconcile)
