"""Keeps the Endpoints of every Service with a selector in step with its EndpointSlices."""

from __future__ import annotations

from pilothouse.client.shared import NAMESPACE
from pilothouse.controllers.context import Context
from pilothouse.controllers.endpoints.decide import MANAGED_BY, MANAGER, OVER_CAPACITY, Wanted, decide
from pilothouse.controllers.slices import FROM_PODS, SERVICE_NAME
from pilothouse.controllers.slices import MANAGED_BY as SLICE_MANAGER
from pilothouse.kinds.core.endpoints import Endpoints
from pilothouse.kinds.core.service import Service
from pilothouse.kinds.discovery.endpoint_slice import EndpointSlice
from pilothouse.kinds.view import to_tree
from pilothouse.machinery.errors import Conflict, NotFound
from pilothouse.machinery.objects import Obj
from pilothouse.reconcile.queue import KeyedQueue, work

NAME = "endpoint-controller"
_TOGETHER_SECONDS = 0.1
_SECONDS_AN_ADDRESS = 0.002
"""Changes that come together are written together, the longer the more there is to write: the object holds all of a
Service's addresses, and a thousand of them cost some 30 ms."""


async def run(context: Context) -> None:
    """Keeps Endpoints until cancelled."""
    controller = Controller(context)
    await context.informers.synced(Service, EndpointSlice, Endpoints)
    controller.subscribe()
    await work(NAME, controller.queue, controller.reconcile, workers=2)


class Controller:
    def __init__(self, context: Context) -> None:
        self._client = context.client
        self._services = context.informers.of(Service)
        self._slices = context.informers.of(EndpointSlice)
        self._endpoints = context.informers.of(Endpoints)
        self.queue = KeyedQueue()

    def subscribe(self) -> None:
        self._services.subscribe(lambda key, old, new: self._later(key))
        self._endpoints.subscribe(lambda key, old, new: self._later(key))
        self._slices.subscribe(self._slice_changed)

    def _slice_changed(self, key: str, old: EndpointSlice | None, new: EndpointSlice | None) -> None:
        current = new or old
        if current is not None and (name := current.metadata.labels.get(SERVICE_NAME)):
            self._later(f"{current.namespace}/{name}")

    def _later(self, key: str) -> None:
        current = self._endpoints.get(key)
        size = sum(len(s.addresses) + len(s.not_ready_addresses) for s in current.subsets) if current else 0
        self.queue.add_after(key, _TOGETHER_SECONDS + size * _SECONDS_AN_ADDRESS)

    async def reconcile(self, key: str) -> float | None:
        service, current = self._services.get(key), self._endpoints.get(key)
        if service is None:
            if current is not None and current.metadata.labels.get(MANAGED_BY) == MANAGER:
                await self._delete(current)
            return None
        if not service.spec.selector or service.spec.type == "ExternalName":
            # These are people's own.
            return None
        slices = [
            s
            for s in self._slices.by_index(NAMESPACE, service.namespace)
            if s.metadata.labels.get(SERVICE_NAME) == service.name and s.metadata.labels.get(SLICE_MANAGER) == FROM_PODS
        ]
        wanted = decide(service, slices)
        if current is None:
            await self._create(service, wanted)
        elif not wanted.holds(current):
            await self._update(current, wanted)
        return None

    async def _create(self, service: Service, wanted: Wanted) -> None:
        meta: Obj = {"name": service.name, "labels": wanted.labels}
        if wanted.truncated:
            meta["annotations"] = {OVER_CAPACITY: "truncated"}
        tree: Obj = {"metadata": meta, "subsets": [to_tree(subset) for subset in wanted.subsets]}
        await self._client.create_tree(Endpoints.resource, tree, service.namespace)

    async def _update(self, current: Endpoints, wanted: Wanted) -> None:
        meta = current.metadata
        gone = dict.fromkeys(meta.labels.keys() - wanted.labels.keys())
        patch: Obj = {
            "metadata": {
                "uid": meta.uid,
                "resourceVersion": meta.resource_version,
                "labels": {**wanted.labels, **gone},
                "annotations": {OVER_CAPACITY: "truncated" if wanted.truncated else None},
            },
            "subsets": [to_tree(subset) for subset in wanted.subsets] or None,
        }
        await self._client.patch(Endpoints, meta.name, meta.namespace, patch)

    async def _delete(self, current: Endpoints) -> None:
        try:
            await self._client.delete(Endpoints, current.name, current.namespace, uid=current.metadata.uid)
        except (NotFound, Conflict):
            return
