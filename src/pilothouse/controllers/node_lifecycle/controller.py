"""Watches over nodes: hears their leases, marks and taints the silent ones, evicts pods by NoExecute taints."""

from __future__ import annotations

import asyncio
import time

from pilothouse.client.shared import NODE
from pilothouse.controllers.context import Context
from pilothouse.controllers.node_lifecycle.decide import (
    GRACE_SECONDS,
    evict_in,
    evicts,
    is_ready,
    readiness,
    reported,
    same_taints,
    taint_tree,
    unknown_conditions,
    wanted_taints,
)
from pilothouse.controllers.node_lifecycle.heartbeat import Heartbeats
from pilothouse.controllers.node_lifecycle.zones import Zone, Zones, zone_of
from pilothouse.controllers.node_loss import LostNodes
from pilothouse.controllers.pods import is_terminal
from pilothouse.kinds.coordination.lease import Lease
from pilothouse.kinds.core.node import Node
from pilothouse.kinds.core.pod import Pod
from pilothouse.machinery.errors import NotFound
from pilothouse.machinery.objects import timestamp
from pilothouse.reconcile.queue import KeyedQueue, work

NAME = "node-controller"
PERIOD_SECONDS = 5.0
_LEASES = "kube-node-lease"


async def run(context: Context) -> None:
    """Watches until cancelled."""
    controller = Controller(context)
    await context.informers.synced(Node, Lease, Pod)
    controller.subscribe()
    async with asyncio.TaskGroup() as group:
        group.create_task(work(NAME, controller.nodes_queue, controller.reconcile_node))
        group.create_task(work(NAME, controller.pods_queue, controller.reconcile_pod, workers=2))
        group.create_task(controller.listen())


class Controller:
    def __init__(self, context: Context) -> None:
        self._context = context
        self._nodes = context.informers.of(Node)
        self._leases = context.informers.of(Lease)
        self._pods = context.informers.of(Pod)
        self._heartbeats = Heartbeats(GRACE_SECONDS, PERIOD_SECONDS)
        self._silent: set[str] = set()
        self._loss = LostNodes()
        self._zones = Zones()
        self._next_eviction: dict[Zone, float] = {}
        self.nodes_queue = KeyedQueue()
        self.pods_queue = KeyedQueue()

    def subscribe(self) -> None:
        self._nodes.subscribe(self._node_changed)
        self._leases.subscribe(self._lease_changed)
        self._pods.subscribe(self._pod_changed)

    def _node_changed(self, key: str, old: Node | None, new: Node | None) -> None:
        self._loss.put(key, new)
        self._zones.put(key, new)
        if new is None:
            self._heartbeats.forget(key)
            self._silent.discard(key)
            return
        self._heartbeats.first_seen(key, time.monotonic())
        if old is not None and reported(old, new):
            # A node that comes back may report its status before it renews its lease.
            self._hear(key)
        self.nodes_queue.add(key)
        if _executing(old) != _executing(new):
            for pod in self._pods.by_index(NODE, key):
                self.pods_queue.add(pod.key)

    def _lease_changed(self, key: str, old: Lease | None, new: Lease | None) -> None:
        if new is None or new.namespace != _LEASES or self._nodes.get(new.name) is None:
            return
        if old is None or old.spec.renew_time != new.spec.renew_time:
            self._hear(new.name)

    def _hear(self, name: str) -> None:
        self._heartbeats.hear(name, time.monotonic())
        self._silent.discard(name)

    def _pod_changed(self, key: str, old: Pod | None, new: Pod | None) -> None:
        if new is not None and new.spec.node_name and (old is None or old.spec.node_name != new.spec.node_name):
            node = self._nodes.get(new.spec.node_name)
            if node is not None and _executing(node):
                self.pods_queue.add(key)

    async def listen(self) -> None:
        """Looks every period for nodes that have fallen silent."""
        while True:
            for name in self._heartbeats.tick(time.monotonic()):
                if name not in self._silent:
                    self._silent.add(name)
                    self.nodes_queue.add(name)
            await asyncio.sleep(PERIOD_SECONDS)

    async def reconcile_node(self, key: str) -> float | None:
        node = self._nodes.get(key)
        if node is None:
            return None
        now = self._context.now()
        if key in self._silent and (conditions := unknown_conditions(node, now)):
            self._context.events.event(node, "Normal", "NodeNotReady", f"Node {key} status is now: NodeNotReady")
            # Conditional, so that a report of the node's own that comes at this moment is not overwritten.
            patch = {
                "metadata": {"resourceVersion": node.metadata.resource_version},
                "status": {"conditions": conditions},
            }
            node = await self._context.client.patch(Node, key, None, patch, type="strategic", subresource="status")
        wait = self._eviction_wait(node)
        taints = wanted_taints(node, now, may_evict=wait == 0)
        if not same_taints(taints, node.spec.taints):
            if evicts(taints) and not evicts(node.spec.taints):
                self._spend_eviction(node)
            patch = {
                "metadata": {"uid": node.metadata.uid, "resourceVersion": node.metadata.resource_version},
                "spec": {"taints": [taint_tree(taint) for taint in taints] or None},
            }
            node = await self._context.client.patch(Node, key, None, patch)
        await self._tell_pods(node)
        # Held back: look again when the rate allows it, or, with no rate at all, when things may have changed.
        return wait if wait and not is_ready(node) and not evicts(taints) else None

    async def _tell_pods(self, node: Node) -> None:
        """Writes what the node's loss or return means for the readiness of its pods."""
        lost = self._loss.is_lost(node)
        for pod, status in readiness(self._pods.by_index(NODE, node.name), node, lost=lost):
            if status == "False":
                self._context.events.event(pod, "Warning", "NodeNotReady", "Node is not ready")
            condition = {"type": "Ready", "status": status, "lastTransitionTime": timestamp(self._context.now())}
            meta = pod.metadata
            patch = {
                "metadata": {"uid": meta.uid, "resourceVersion": meta.resource_version},
                "status": {"conditions": [condition]},
            }
            try:
                await self._context.client.patch(
                    Pod, pod.name, pod.namespace, patch, type="strategic", subresource="status"
                )
            except NotFound:
                continue

    def _eviction_wait(self, node: Node) -> float:
        """Seconds until this node's pods may be evicted; 0 now."""
        if is_ready(node) or evicts(node.spec.taints):
            return 0.0
        zone = zone_of(node)
        if not self._zones.rate(zone):
            return 30.0
        return max(0.0, self._next_eviction.get(zone, 0.0) - time.monotonic())

    def _spend_eviction(self, node: Node) -> None:
        zone = zone_of(node)
        if rate := self._zones.rate(zone):
            self._next_eviction[zone] = time.monotonic() + 1 / rate

    async def reconcile_pod(self, key: str) -> float | None:
        pod = self._pods.get(key)
        node = self._nodes.get(pod.spec.node_name) if pod is not None and pod.spec.node_name else None
        if pod is None or node is None or pod.metadata.deletion_timestamp is not None or is_terminal(pod):
            return None
        wait = evict_in(pod, node, self._context.now())
        if wait is None or wait > 0:
            return wait
        self._context.events.event(pod, "Normal", "TaintManagerEviction", f"Marking for deletion Pod {pod.key}")
        condition = {
            "type": "DisruptionTarget",
            "status": "True",
            "reason": "DeletionByTaintManager",
            "message": "Taint manager: deleting due to NoExecute taint",
            "lastTransitionTime": timestamp(self._context.now()),
        }
        patch = {"metadata": {"uid": pod.metadata.uid}, "status": {"conditions": [condition]}}
        client = self._context.client
        try:
            await client.patch(Pod, pod.name, pod.namespace, patch, type="strategic", subresource="status")
            await client.delete(Pod, pod.name, pod.namespace, uid=pod.metadata.uid)
        except NotFound:
            return None
        return None


def _executing(node: Node | None) -> list[tuple[str, str, str | None]]:
    if node is None:
        return []
    return [(taint.key, taint.value, taint.time_added) for taint in node.spec.taints if taint.effect == "NoExecute"]
