"""Keeps the ConfigMap kube-root-ca.crt in every namespace, from which pods learn whom to trust as the API."""

from __future__ import annotations

import asyncio

from pilothouse.client.informer import Informer
from pilothouse.controllers.context import Context
from pilothouse.kinds.core.config_map import ConfigMap
from pilothouse.kinds.core.namespace import Namespace
from pilothouse.kinds.view import ObjectMeta
from pilothouse.machinery.errors import AlreadyExists, Forbidden, NotFound
from pilothouse.reconcile.queue import KeyedQueue, work

NAME = "root-ca-cert-publisher"
CONFIG_MAP = "kube-root-ca.crt"
_KEY = "ca.crt"


async def run(context: Context, *, ca_pem: str) -> None:
    """Publishes `ca_pem` until cancelled."""
    namespaces = context.informers.of(Namespace)
    published = Informer(context.client, ConfigMap, field_selector=f"metadata.name={CONFIG_MAP}")
    queue = KeyedQueue()

    async def reconcile(key: str) -> float | None:
        namespace = namespaces.get(key)
        if namespace is None or namespace.metadata.deletion_timestamp is not None:
            return None
        current = published.get(f"{key}/{CONFIG_MAP}")
        wanted = {_KEY: ca_pem}
        if current is not None and current.data == wanted:
            return None
        try:
            if current is None:
                meta = ObjectMeta(name=CONFIG_MAP, namespace=key)
                await context.client.create(ConfigMap(metadata=meta, data=wanted))
            else:
                strangers: dict[str, str | None] = dict.fromkeys(current.data)
                await context.client.patch(ConfigMap, CONFIG_MAP, key, {"data": {**strangers, **wanted}})
        except (AlreadyExists, NotFound):
            # Seen too late; the informer is about to say so and the key comes back.
            return None
        except Forbidden:
            live = await context.client.find(Namespace, key)
            if live is not None and live.status.phase != "Terminating":
                raise
        return None

    async with asyncio.TaskGroup() as group:
        group.create_task(published.run())
        await context.informers.synced(Namespace)
        await published.synced()
        namespaces.subscribe(lambda key, old, new: queue.add(key))
        published.subscribe(lambda key, old, new: queue.add(key.partition("/")[0]))
        group.create_task(work(NAME, queue, reconcile))
