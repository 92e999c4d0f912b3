"""Makes and removes the RuntimeClasses of what works on the nodes."""

from __future__ import annotations

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

    async def reconcile(_: str) -> float | None:
        working = handlers(nodes)
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
        # Every heartbeat changes a Node; only its labels matter here.
        if old is None or new is None or old.metadata.labels != new.metadata.labels:
            queue.add("all")

    nodes.subscribe(node_changed)
    classes.subscribe(lambda key, old, new: queue.add("all"))
    await work(NAME, queue, reconcile)
