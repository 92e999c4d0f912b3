"""Makes and removes the RuntimeClasses of what works on the nodes."""

from __future__ import annotations

from collections import Counter

from pilothouse.controllers.context import Context
from pilothouse.controllers.runtime_class.decide import MANAGER, handlers, is_surplus, wanted_class
from pilothouse.kinds.core.node import Node
from pilothouse.kinds.node.runtime_class import RuntimeClass
from pilothouse.machinery.errors import AlreadyExists, NotFound
from pilothouse.reconcile.queue import KeyedQueue, work

NAME = MANAGER


async def run(context: Context) -> None:
    """Keeps the classes like the nodes until cancelled. One key stands for all: they are few."""
    nodes = context.informers.of(Node)
    classes = context.informers.of(RuntimeClass)
    await context.informers.synced(Node, RuntimeClass)
    queue = KeyedQueue()
    queue.add("all")
    working: Counter[str] = Counter()
    """On how many nodes each handler works."""

    async def reconcile(_: str) -> float | None:
        for handler in sorted(working):
            if classes.get(handler) is None:
                try:
                    await context.client.create(wanted_class(handler))
                except AlreadyExists:
                    continue
        for found in classes:
            if is_surplus(found, working):
                try:
                    await context.client.delete(RuntimeClass, found.name, uid=found.metadata.uid)
                except NotFound:
                    continue
        return None

    def node_changed(key: str, old: Node | None, new: Node | None) -> None:
        # Every heartbeat changes a Node; only the handlers matter here.
        before, after = (handlers(node) if node is not None else set() for node in (old, new))
        if before != after:
            working.subtract(before)
            working.update(after)
            for handler in before | after:
                if not working[handler]:
                    del working[handler]
            queue.add("all")

    nodes.subscribe(node_changed)
    classes.subscribe(lambda key, old, new: queue.add("all"))
    await work(NAME, queue, reconcile)
