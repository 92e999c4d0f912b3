"""Keeps `status.loadBalancer` of Services of type LoadBalancer."""

from __future__ import annotations

from pilothouse.client.shared import NAMESPACE
from pilothouse.controllers.conditions import find
from pilothouse.controllers.context import Context
from pilothouse.controllers.load_balancer.decide import PORTS_IN_USE, World, decide, is_ours
from pilothouse.kinds.core.node import Node
from pilothouse.kinds.core.service import Service
from pilothouse.kinds.discovery.endpoint_slice import EndpointSlice
from pilothouse.machinery.errors import NotFound
from pilothouse.machinery.objects import Obj
from pilothouse.reconcile.queue import KeyedQueue, work

NAME = "service-controller"
_SERVICE_NAME = "kubernetes.io/service-name"


async def run(context: Context) -> None:
    """Keeps load balancers' addresses until cancelled."""
    controller = Controller(context)
    await context.informers.synced(Service, Node, EndpointSlice)
    controller.subscribe()
    await work(NAME, controller.queue, controller.reconcile)


class Controller:
    def __init__(self, context: Context) -> None:
        self._context = context
        self._services = context.informers.of(Service)
        self._nodes = context.informers.of(Node)
        self._slices = context.informers.of(EndpointSlice)
        self.queue = KeyedQueue()

    def subscribe(self) -> None:
        self._services.subscribe(self._service_changed)
        self._nodes.subscribe(self._node_changed)
        self._slices.subscribe(self._slice_changed)

    def _service_changed(self, key: str, old: Service | None, new: Service | None) -> None:
        if any(s is not None and (s.spec.type == "LoadBalancer" or s.status.load_balancer.ingress) for s in (old, new)):
            self.queue.add(key)
        if (old is None or new is None or old.spec != new.spec) and any(
            s is not None and s.spec.type in ("LoadBalancer", "NodePort") for s in (old, new)
        ):
            self._all()  # a port may have become free, or be wanted by an older one

    def _node_changed(self, key: str, old: Node | None, new: Node | None) -> None:
        if (_shows(old) if old else None) != (_shows(new) if new else None):
            self._all()

    def _slice_changed(self, key: str, old: EndpointSlice | None, new: EndpointSlice | None) -> None:
        current = new or old
        name = current.metadata.labels.get(_SERVICE_NAME) if current is not None else None
        service = self._services.get(f"{current.namespace}/{name}") if current is not None and name else None
        if service is not None and is_ours(service) and service.spec.external_traffic_policy == "Local":
            self.queue.add(service.key)

    def _all(self) -> None:
        for service in self._services:
            if is_ours(service):
                self.queue.add(service.key)

    async def reconcile(self, key: str) -> float | None:
        service = self._services.get(key)
        if service is None:
            return None
        slices = [
            slice_
            for slice_ in self._slices.by_index(NAMESPACE, service.namespace)
            if slice_.metadata.labels.get(_SERVICE_NAME) == service.name
        ]
        plan = decide(service, World(list(self._services), list(self._nodes), slices))
        events = self._context.events
        if plan.problem:
            message = f"Error syncing load balancer: failed to ensure load balancer: {plan.problem}"
            events.event(service, "Warning", "SyncLoadBalancerFailed", message)
        present = [entry.ip for entry in service.status.load_balancer.ingress]
        if plan.addresses is None or plan.addresses == present:
            return None
        ingress: list[Obj] = [{"ip": address, "ipMode": "VIP"} for address in plan.addresses]
        patch = {"metadata": {"uid": service.metadata.uid}, "status": {"loadBalancer": {"ingress": ingress or None}}}
        try:
            await self._context.client.patch(Service, service.name, service.namespace, patch, subresource="status")
        except NotFound:
            return None
        if plan.addresses:
            events.event(service, "Normal", "EnsuredLoadBalancer", "Ensured load balancer")
        return None


def _shows(node: Node) -> tuple[object, ...]:
    """What of a node load balancers depend on."""
    ready = find(node.status.conditions, "Ready")
    addresses = [(entry.type, entry.address) for entry in node.status.addresses]
    annotation = node.metadata.annotations.get(PORTS_IN_USE)
    return addresses, ready.status if ready else "", node.metadata.labels, annotation
