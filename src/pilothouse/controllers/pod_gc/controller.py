"""Deletes pods that are beyond help, when a node or a pod changes."""

from __future__ import annotations

import asyncio

from pilothouse.client.shared import NODE
from pilothouse.controllers.context import Context
from pilothouse.controllers.pod_gc.decide import (
    NODE_GONE,
    ending,
    is_out_of_service,
    orphaned,
    stranded,
    surplus,
    unscheduled_terminating,
)
from pilothouse.controllers.pods import is_terminal, is_terminating
from pilothouse.kinds.core.node import Node
from pilothouse.kinds.core.pod import Pod
from pilothouse.kinds.view import Condition
from pilothouse.machinery.errors import NotFound
from pilothouse.reconcile.queue import KeyedQueue, work

NAME = "pod-garbage-collector"
_QUARANTINE_SECONDS = 40.0
"""A node may be deleted and register anew: its pods are given this long (as upstream)."""
_SURPLUS = "surplus"
_NODE = "node/"
_POD = "pod/"
_STRANDED = "stranded/"


async def run(context: Context) -> None:
    """Collects until cancelled."""
    collector = Collector(context)
    await context.informers.synced(Node, Pod)
    collector.subscribe()
    await work(NAME, collector.queue, collector.reconcile)


class Collector:
    def __init__(self, context: Context) -> None:
        self._context = context
        self._nodes = context.informers.of(Node)
        self._pods = context.informers.of(Pod)
        self.queue = KeyedQueue()

    def subscribe(self) -> None:
        self._nodes.subscribe(self._node_changed)
        self._pods.subscribe(self._pod_changed)

    def _node_changed(self, key: str, old: Node | None, new: Node | None) -> None:
        if new is None:
            self.queue.add_after(_NODE + key, _QUARANTINE_SECONDS)
        elif is_out_of_service(new) and (old is None or not is_out_of_service(old)):
            self.queue.add(_STRANDED + key)

    def _pod_changed(self, key: str, old: Pod | None, new: Pod | None) -> None:
        if new is None:
            return
        if new.spec.node_name:
            if old is None and self._nodes.get(new.spec.node_name) is None:
                self.queue.add_after(_NODE + new.spec.node_name, _QUARANTINE_SECONDS)
            if is_terminating(new) and (old is None or not is_terminating(old)):
                node = self._nodes.get(new.spec.node_name)
                if node is not None and is_out_of_service(node):
                    self.queue.add(_STRANDED + node.name)
        elif new.metadata.deletion_timestamp is not None:
            self.queue.add(_POD + key)
        if is_terminal(new) and (old is None or not is_terminal(old)):
            self.queue.add_after(_SURPLUS, 20.0)

    async def reconcile(self, key: str) -> float | None:
        condition: Condition | None = None
        if key == _SURPLUS:
            victims = surplus(self._pods)
        elif key.startswith(_STRANDED):
            name = key.removeprefix(_STRANDED)
            victims = stranded(self._pods.by_index(NODE, name), self._nodes.get(name))
        elif key.startswith(_NODE):
            name = key.removeprefix(_NODE)
            # Asked afresh: the copy may lag behind a node that came back.
            if await self._context.client.find(Node, name) is not None:
                return None
            victims = orphaned(self._pods.by_index(NODE, name), ())
            condition = NODE_GONE
        else:
            pod = self._pods.get(key.removeprefix(_POD))
            victims = unscheduled_terminating([pod] if pod is not None else [])
        for pod in victims:
            await self._delete(pod, condition)
            await asyncio.sleep(0)
        return None

    async def _delete(self, pod: Pod, condition: Condition | None) -> None:
        """Says first that it has failed: its owner would else take it for running until it is gone."""
        try:
            if status := ending(pod, condition, self._context.now()):
                patch = {"metadata": {"uid": pod.metadata.uid}, "status": status}
                await self._context.client.patch(
                    Pod, pod.name, pod.namespace, patch, type="strategic", subresource="status"
                )
            await self._context.client.delete(
                Pod, pod.name, pod.namespace, uid=pod.metadata.uid, grace_period_seconds=0
            )
        except NotFound:
            return
