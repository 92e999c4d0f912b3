"""Virtual nodes: they register, renew leases and report status as nodes do, and say of pods that they run.

Each speaks under its own node's identity, so that the node authoriser and NodeRestriction are passed as by real ones.
Only watching is shared: one informer serves them all, where every real node watches its own pods.
"""

from __future__ import annotations

import asyncio
import itertools
import logging
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass

from pilothouse.client.client import Client
from pilothouse.client.shared import SharedInformers
from pilothouse.kinds.coordination.lease import Lease
from pilothouse.kinds.core.node import Node
from pilothouse.kinds.core.pod import Pod
from pilothouse.launch.simulation.lives import Ended, Gone, Running, next_of
from pilothouse.launch.simulation.setting import NodeType
from pilothouse.machinery.errors import ApiError, NotFound
from pilothouse.machinery.objects import Obj, micro_timestamp, timestamp
from pilothouse.reconcile.queue import KeyedQueue, work

HEARTBEAT = 10.0
STATUS_PERIOD = 300.0
_LEASE_SECONDS = 40
_LEASES = "kube-node-lease"
_TOGETHER = 32
_VOLUMES_DIR = "pilothouse.io/volumes-dir"
log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class VirtualNode:
    name: str
    type: NodeType
    tree: Obj
    status: Obj


def made_of(types: Sequence[NodeType]) -> list[VirtualNode]:
    """The nodes of all types."""
    return [_node(kind, number) for kind in types for number in range(kind.count)]


def _node(kind: NodeType, number: int) -> VirtualNode:
    name = f"{kind.name}-{number:0{len(str(max(kind.count - 1, 1)))}}"
    labels = {
        "kubernetes.io/hostname": name,
        "kubernetes.io/os": "linux",
        "kubernetes.io/arch": "amd64",
        "node.kubernetes.io/instance-type": kind.name,
        **({"topology.kubernetes.io/zone": kind.zones[number % len(kind.zones)]} if kind.zones else {}),
        **kind.labels,
    }
    amounts = {"cpu": kind.cpu, "memory": kind.memory, "pods": str(kind.pods), **kind.resources}
    now = timestamp()
    conditions = [
        {"type": of, "status": status, "reason": reason, "lastHeartbeatTime": now, "lastTransitionTime": now}
        for of, status, reason in (
            ("MemoryPressure", "False", "KubeletHasSufficientMemory"),
            ("DiskPressure", "False", "KubeletHasNoDiskPressure"),
            ("PIDPressure", "False", "KubeletHasSufficientPID"),
            ("Ready", "True", "KubeletReady"),
        )
    ]
    status = {
        "capacity": amounts,
        "allocatable": amounts,
        "conditions": conditions,
        "addresses": [{"type": "Hostname", "address": name}],
    }
    spec = {"taints": kind.taints} if kind.taints else {}
    metadata = {"name": name, "labels": labels, "annotations": {_VOLUMES_DIR: "/virtual"}}
    return VirtualNode(name, kind, {"metadata": metadata, "spec": spec}, status)


class VirtualNodes:
    """`client_of(name)` is a client with that node's identity; `admin` puts taints and labels a node may not set."""

    def __init__(
        self,
        nodes: Sequence[VirtualNode],
        admin: Client,
        client_of: Callable[[str], Client],
        informers: SharedInformers,
    ) -> None:
        self._nodes = {node.name: node for node in nodes}
        self._admin = admin
        self._clients = {name: client_of(name) for name in self._nodes}
        self._pods = informers.of(Pod)
        self._queue = KeyedQueue()
        self.start_pods = True
        """False leaves new pods as they are bound, as if nodes took their time."""
        self._at_work = asyncio.Event()
        self._since: dict[str, float] = {}
        self._addresses = itertools.count(1)

    async def register(self) -> None:
        """Makes all Node objects with their leases. Raises ApiError."""
        gate = asyncio.Semaphore(_TOGETHER)

        async def one(node: VirtualNode) -> None:
            async with gate:
                made = await self._admin.create_tree(Node.resource, node.tree)
                await self._report(node)
                owner = {"apiVersion": "v1", "kind": "Node", "name": node.name, "uid": made["metadata"]["uid"]}
                lease: Obj = {"metadata": {"name": node.name, "ownerReferences": [owner]}, "spec": _lease(node.name)}
                await self._clients[node.name].create_tree(Lease.resource, lease, _LEASES)

        async with asyncio.TaskGroup() as tasks:
            for node in self._nodes.values():
                tasks.create_task(one(node))

    async def run(self) -> None:
        """Lives until cancelled."""
        await self._pods.synced()
        self._pods.subscribe(self._pod_changed)
        self._at_work.set()
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._each(HEARTBEAT, self._renew))
            tasks.create_task(self._each(STATUS_PERIOD, self._report))
            tasks.create_task(work("virtual-nodes", self._queue, self._reconcile, workers=_TOGETHER))

    async def at_work(self) -> None:
        """Waits until they have heard of every pod there was when they began."""
        await self._at_work.wait()

    async def _each(self, period: float, act: Callable[[VirtualNode], Awaitable[None]]) -> None:
        """Does `act` for every node once a period, the nodes spread over it."""
        while True:
            began = time.monotonic()
            for number, node in enumerate(self._nodes.values()):
                due = began + period * number / len(self._nodes)
                if (wait := due - time.monotonic()) > 0.01:
                    await asyncio.sleep(wait)
                try:
                    await act(node)
                except ApiError as error:
                    log.warning("virtual node %s: %s", node.name, error)
            await asyncio.sleep(max(0.0, began + period - time.monotonic()))

    async def _renew(self, node: VirtualNode) -> None:
        await self._clients[node.name].patch(Lease, node.name, _LEASES, {"spec": _lease(node.name)})

    async def _report(self, node: VirtualNode) -> None:
        await self._clients[node.name].patch(
            Node, node.name, None, {"status": node.status}, type="strategic", subresource="status"
        )

    def _pod_changed(self, key: str, old: Pod | None, new: Pod | None) -> None:
        if new is None:
            self._since.pop(key, None)
        elif new.spec.node_name in self._nodes and self.start_pods:
            if key not in self._since or old is None or old.metadata.uid != new.metadata.uid:
                self._since[key] = time.monotonic()
            self._queue.add(key)

    async def _reconcile(self, key: str) -> float | None:
        pod = self._pods.get(key)
        if pod is None or pod.spec.node_name not in self._nodes:
            return None
        step = next_of(pod, time.monotonic() - self._since.get(key, 0.0), self._address)
        client = self._clients[pod.spec.node_name]
        try:
            match step:
                case Gone():
                    await client.delete(Pod, pod.name, pod.namespace, uid=pod.metadata.uid, grace_period_seconds=0)
                case Running(status) | Ended(status):
                    patch = {"metadata": {"uid": pod.metadata.uid}, "status": status}
                    await client.patch(Pod, pod.name, pod.namespace, patch, type="strategic", subresource="status")
                case float() | None:
                    return step
        except NotFound:
            return None
        return None

    def _address(self) -> str:
        number = next(self._addresses)
        return f"10.{128 + (number >> 16) % 128}.{number >> 8 & 255}.{number & 255}"


def _lease(name: str) -> Obj:
    return {"holderIdentity": name, "leaseDurationSeconds": _LEASE_SECONDS, "renewTime": micro_timestamp()}
