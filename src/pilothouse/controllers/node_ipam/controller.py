"""Gives each node its range of pod addresses."""

from __future__ import annotations

from pilothouse.controllers.context import Context
from pilothouse.controllers.node_ipam.decide import NODE_PREFIXES, RangeExhausted, Ranges, ranges_of
from pilothouse.kinds.core.node import Node
from pilothouse.kinds.families import networks_of
from pilothouse.machinery.errors import NotFound
from pilothouse.reconcile.queue import KeyedQueue, work

NAME = "node-ipam-controller"
_RETRY_SECONDS = 60.0


async def run(context: Context, cluster_range: str, prefix: int = 24) -> None:
    """Allocates until cancelled, from each network of `cluster_range`, in its order; `prefix` is that of IPv4 parts.

    One worker: two nodes must never be given the same range.
    """
    nodes = context.informers.of(Node)
    await nodes.synced()
    queue = KeyedQueue()
    prefixes = {**NODE_PREFIXES, 4: prefix}
    every = [Ranges(str(network), prefixes[network.version]) for network in networks_of(cluster_range)]
    given: dict[str, tuple[str, list[str]]] = {}
    """Uid and ranges by node name, until the node is gone: the informer may lag behind what was just written."""

    def changed(key: str, old: Node | None, new: Node | None) -> None:
        before, after = (ranges_of(node) if node is not None else set() for node in (old, new))
        for ranges in every:
            ranges.take(after - before)
            ranges.give_up(before - after)
        if new is None:
            forget(key)
        elif not new.spec.pod_cidr:
            queue.add(key)

    def forget(key: str) -> None:
        if key in given:
            left = given.pop(key)[1]
            for ranges in every:
                ranges.give_up(left)

    async def reconcile(key: str) -> float | None:
        node = nodes.get(key)
        if node is None or node.spec.pod_cidr or node.metadata.deletion_timestamp is not None:
            return None
        uid = node.metadata.uid
        before = given.get(key)
        try:
            # A write whose answer was lost is repeated with the same range: it may have been stored.
            cidrs = before[1] if before is not None and before[0] == uid else [ranges.free() for ranges in every]
        except RangeExhausted as error:
            context.events.event(node, "Warning", "CIDRNotAvailable", str(error))
            return _RETRY_SECONDS
        forget(key)
        given[key] = (uid, cidrs)
        for ranges in every:
            ranges.take(cidrs)
        patch = {"metadata": {"uid": uid}, "spec": {"podCIDR": cidrs[0], "podCIDRs": cidrs}}
        try:
            await context.client.patch(Node, key, None, patch)
        except NotFound:
            forget(key)
        return None

    nodes.subscribe(changed)
    await work(NAME, queue, reconcile)
