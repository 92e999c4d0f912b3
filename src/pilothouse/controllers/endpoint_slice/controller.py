"""Keeps the EndpointSlices of every Service with a selector."""

from __future__ import annotations

from pilothouse.client.shared import NAMESPACE
from pilothouse.controllers.context import Context
from pilothouse.controllers.endpoint_slice.decide import New, Update, decide
from pilothouse.controllers.names import random_suffix
from pilothouse.controllers.node_loss import LostNodes
from pilothouse.controllers.slices import FROM_PODS, MANAGED_BY, SERVICE_NAME
from pilothouse.kinds.core.node import ZONE, Node
from pilothouse.kinds.core.pod import Pod
from pilothouse.kinds.core.service import Service
from pilothouse.kinds.discovery.endpoint_slice import EndpointSlice
from pilothouse.kinds.view import to_tree
from pilothouse.machinery.errors import NotFound
from pilothouse.machinery.objects import Obj
from pilothouse.reconcile.queue import KeyedQueue, work

NAME = "endpointslice-controller"
WORKERS = 4
_FEW_PODS = 500
_SECONDS_A_POD, _LONGEST_SECONDS = 0.0001, 1.0


async def run(context: Context) -> None:
    """Keeps EndpointSlices in step with Services and pods until cancelled."""
    controller = Controller(context)
    await context.informers.synced(Service, Pod, EndpointSlice, Node)
    controller.subscribe()
    await work(NAME, controller.queue, controller.reconcile, workers=WORKERS)


class Controller:
    def __init__(self, context: Context) -> None:
        self._client = context.client
        self._services = context.informers.of(Service)
        self._pods = context.informers.of(Pod)
        self._slices = context.informers.of(EndpointSlice)
        self._nodes = context.informers.of(Node)
        self._loss = LostNodes()
        self._lost: frozenset[str] = frozenset()
        self._zones: dict[str, str] = {}
        self._looked_at: dict[str, int] = {}
        """How many pods the last pass of each Service looked at."""
        self._made: dict[str, set[str]] = {}
        """Slices made and not shown by the informer yet: without them a second pass would make them again."""
        self.queue = KeyedQueue()

    def subscribe(self) -> None:
        self._services.subscribe(lambda key, old, new: self.queue.add(key))
        self._pods.subscribe(self._pod_changed)
        self._slices.subscribe(self._slice_changed)
        self._nodes.subscribe(self._node_changed)

    def _pod_changed(self, key: str, old: Pod | None, new: Pod | None) -> None:
        pod = new or old
        if pod is None or (old is not None and new is not None and _shows(old) == _shows(new)):
            return
        for service in self._services.by_index(NAMESPACE, pod.namespace):
            selector = service.spec.selector
            if selector and any(p is not None and selector.items() <= p.metadata.labels.items() for p in (old, new)):
                self._soon(service.key)

    def _soon(self, key: str) -> None:
        """A pass looks at every pod of the namespace: where there are many, changes are gathered for a moment."""
        pods = self._looked_at.get(key, 0)
        if pods <= _FEW_PODS:
            self.queue.add(key)
        else:
            self.queue.add_after(key, min(_LONGEST_SECONDS, pods * _SECONDS_A_POD))

    def _slice_changed(self, key: str, old: EndpointSlice | None, new: EndpointSlice | None) -> None:
        current = new or old
        name = current.metadata.labels.get(SERVICE_NAME) if current is not None else None
        if current is None or name is None:
            return
        service = f"{current.namespace}/{name}"
        made = self._made.get(service)
        if made is not None:
            made.discard(key)
            if not made:
                del self._made[service]
        self._soon(service)

    def _node_changed(self, key: str, old: Node | None, new: Node | None) -> None:
        changed: set[str] = set()
        if self._loss.put(key, new):
            lost = self._loss.names()
            changed, self._lost = set(lost ^ self._lost), lost
        zone = (new.metadata.labels.get(ZONE) if new is not None else None) or None
        if zone != self._zones.get(key):
            changed.add(key)
            self._zones.pop(key, None)
            if zone is not None:
                self._zones[key] = zone
        for name in changed:
            for pod in self._pods.by_index("node", name):
                self._pod_changed(pod.key, None, pod)

    async def reconcile(self, key: str) -> float | None:
        service = self._services.get(key)
        namespace, name = key.split("/", 1)
        slices = [
            s
            for s in self._slices.by_index(NAMESPACE, namespace)
            if s.metadata.labels.get(SERVICE_NAME) == name and s.metadata.labels.get(MANAGED_BY) == FROM_PODS
        ]
        if self._made.get(key):
            return None
        self._looked_at.pop(key, None)
        if service is None or not service.spec.selector or service.spec.type == "ExternalName":
            for current in slices:
                await self._delete(current)
            return None
        wanted = service.spec.selector.items()
        everywhere = self._pods.by_index(NAMESPACE, namespace)
        self._looked_at[key] = len(everywhere)
        pods = [p for p in everywhere if wanted <= p.metadata.labels.items()]
        plan = decide(service, pods, slices, self._lost, self._zones)
        for update in plan.update:
            await self._update(update)
        for new in plan.create:
            await self._create(service, new)
        for current in plan.delete:
            await self._delete(current)
        return None

    async def _update(self, update: Update) -> None:
        meta = update.slice.metadata
        patch: Obj = {
            "metadata": {"resourceVersion": meta.resource_version, "labels": update.labels},
            "endpoints": [to_tree(endpoint) for endpoint in update.endpoints],
        }
        await self._client.patch(EndpointSlice, meta.name, meta.namespace, patch)

    async def _create(self, service: Service, new: New) -> None:
        name = f"{service.name[:57]}-{random_suffix()}"
        made = self._made.setdefault(service.key, set())
        slice_key = f"{service.namespace}/{name}"
        made.add(slice_key)
        tree: Obj = {
            "metadata": {
                "name": name,
                "generateName": f"{service.name[:57]}-",
                "labels": new.labels,
                "ownerReferences": [to_tree(service.as_owner())],
            },
            "addressType": new.address_type,
            "endpoints": [to_tree(endpoint) for endpoint in new.endpoints],
            "ports": [to_tree(port) for port in new.ports],
        }
        try:
            await self._client.create_tree(EndpointSlice.resource, tree, service.namespace)
        except BaseException:
            made.discard(slice_key)
            if not made:
                self._made.pop(service.key, None)
            raise

    async def _delete(self, current: EndpointSlice) -> None:
        try:
            await self._client.delete(EndpointSlice, current.name, current.namespace, uid=current.metadata.uid)
        except NotFound:
            return


def _shows(pod: Pod) -> tuple[object, ...]:
    """What of a pod an endpoint depends on."""
    ready = next((c.status for c in pod.status.conditions if c.type == "Ready"), "")
    meta = pod.metadata
    return (
        pod.status.pod_ip,
        pod.status.pod_ips,
        ready,
        pod.status.phase,
        meta.deletion_timestamp is None,
        meta.labels,
        meta.uid,
    )
