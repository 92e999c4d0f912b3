"""Keeps EndpointSlices of Endpoints that people write for Services without a selector."""

from __future__ import annotations

from pilothouse.client.shared import NAMESPACE
from pilothouse.controllers.context import Context
from pilothouse.controllers.endpoint_slice_mirroring.decide import Copy, decide, mirrored
from pilothouse.controllers.names import random_suffix
from pilothouse.controllers.slices import MANAGED_BY, MIRRORED, SERVICE_NAME
from pilothouse.kinds.core.endpoints import Endpoints
from pilothouse.kinds.core.service import Service
from pilothouse.kinds.discovery.endpoint_slice import EndpointSlice
from pilothouse.kinds.view import to_tree
from pilothouse.machinery.errors import NotFound
from pilothouse.machinery.objects import Obj
from pilothouse.reconcile.queue import KeyedQueue, work

NAME = "endpointslicemirroring-controller"


async def run(context: Context) -> None:
    """Mirrors Endpoints until cancelled."""
    controller = Controller(context)
    await context.informers.synced(Service, Endpoints, EndpointSlice)
    controller.subscribe()
    await work(NAME, controller.queue, controller.reconcile)


class Controller:
    """Slices made and not shown by the informer yet are kept in mind: else a second pass would make them again."""

    def __init__(self, context: Context) -> None:
        self._client = context.client
        self._services = context.informers.of(Service)
        self._endpoints = context.informers.of(Endpoints)
        self._slices = context.informers.of(EndpointSlice)
        self._made: dict[str, set[str]] = {}
        self._with_slices: set[str] = set()
        """Services that have had mirrored slices; for all others, most of them, there is nothing to look for."""
        self.queue = KeyedQueue()

    def subscribe(self) -> None:
        self._services.subscribe(lambda key, old, new: self.queue.add(key))
        self._endpoints.subscribe(lambda key, old, new: self.queue.add(key))
        self._slices.subscribe(self._slice_changed)

    def _slice_changed(self, key: str, old: EndpointSlice | None, new: EndpointSlice | None) -> None:
        current = new or old
        if current is None or current.metadata.labels.get(MANAGED_BY) != MIRRORED:
            return
        owner = f"{current.namespace}/{current.metadata.labels.get(SERVICE_NAME, '')}"
        self._seen(owner, key)
        self._with_slices.add(owner)
        self.queue.add(owner)

    def _seen(self, owner: str, key: str) -> None:
        made = self._made.get(owner, set())
        made.discard(key)
        if not made:
            self._made.pop(owner, None)

    async def reconcile(self, key: str) -> float | None:
        if self._made.get(key):
            return None
        endpoints = self._endpoints.get(key)
        is_mirrored = mirrored(self._services.get(key), endpoints)
        if not is_mirrored and key not in self._with_slices:
            return None
        namespace, _, name = key.partition("/")
        slices = [
            s
            for s in self._slices.by_index(NAMESPACE, namespace)
            if s.metadata.labels.get(SERVICE_NAME) == name and s.metadata.labels.get(MANAGED_BY) == MIRRORED
        ]
        if endpoints is None or not is_mirrored:
            for current in slices:
                await self._delete(current)
            if not slices:
                self._with_slices.discard(key)
            return None
        plan = decide(endpoints, slices)
        for copy in plan.create:
            await self._create(endpoints, copy)
        for current, copy in plan.update:
            meta = current.metadata
            patch: Obj = {
                "metadata": {"resourceVersion": meta.resource_version, "labels": copy.labels},
                "endpoints": [to_tree(endpoint) for endpoint in copy.endpoints],
            }
            await self._client.patch(EndpointSlice, meta.name, meta.namespace, patch)
        for current in plan.delete:
            await self._delete(current)
        return None

    async def _create(self, endpoints: Endpoints, copy: Copy) -> None:
        name = f"{endpoints.name[:57]}-{random_suffix()}"
        tree: Obj = {
            "metadata": {
                "name": name,
                "generateName": f"{endpoints.name[:57]}-",
                "labels": copy.labels,
                "ownerReferences": [to_tree(endpoints.as_owner())],
            },
            "addressType": copy.address_type,
            "endpoints": [to_tree(endpoint) for endpoint in copy.endpoints],
            "ports": [to_tree(port) for port in copy.ports],
        }
        slice_key = f"{endpoints.namespace}/{name}"
        self._made.setdefault(endpoints.key, set()).add(slice_key)
        try:
            await self._client.create_tree(EndpointSlice.resource, tree, endpoints.namespace)
        except BaseException:
            self._seen(endpoints.key, slice_key)
            raise

    async def _delete(self, current: EndpointSlice) -> None:
        try:
            await self._client.delete(EndpointSlice, current.name, current.namespace, uid=current.metadata.uid)
        except NotFound:
            return
