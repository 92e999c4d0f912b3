"""Makes the service account `default` wherever a namespace lacks it."""

from __future__ import annotations

from pilothouse.controllers.context import Context
from pilothouse.controllers.service_account.decide import DEFAULT, needs_account
from pilothouse.kinds.core.namespace import Namespace
from pilothouse.kinds.core.service_account import ServiceAccount
from pilothouse.kinds.view import ObjectMeta
from pilothouse.machinery.errors import AlreadyExists, Forbidden, NotFound
from pilothouse.reconcile.queue import KeyedQueue, work

NAME = "service-account-controller"


async def run(context: Context) -> None:
    """Keeps the accounts there until cancelled."""
    namespaces = context.informers.of(Namespace)
    accounts = context.informers.of(ServiceAccount)
    await context.informers.synced(Namespace, ServiceAccount)
    queue = KeyedQueue()

    def account_changed(key: str, old: ServiceAccount | None, new: ServiceAccount | None) -> None:
        if new is None and old is not None and old.name == DEFAULT:
            queue.add(old.namespace)

    async def reconcile(key: str) -> float | None:
        if not needs_account(namespaces.get(key), accounts.get(f"{key}/{DEFAULT}")):
            return None
        account = ServiceAccount(metadata=ObjectMeta(name=DEFAULT, namespace=key))
        try:
            await context.client.create(account)
        except (AlreadyExists, NotFound):
            return None
        except Forbidden:
            # The namespace began to terminate meanwhile; anything else is an error to show.
            live = await context.client.find(Namespace, key)
            if needs_account(live, None):
                raise
        return None

    namespaces.subscribe(lambda key, old, new: queue.add(key))
    accounts.subscribe(account_changed)
    await work(NAME, queue, reconcile)
