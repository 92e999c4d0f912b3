"""Puts a simulated cluster together: the API over a store, controllers, scheduler, virtual nodes, in this process."""

from __future__ import annotations

import asyncio
import contextlib
import datetime as dt
from collections.abc import AsyncIterator, Callable, Collection, Sequence
from dataclasses import dataclass
from enum import Enum

from pilothouse.apiserver.allocation import service_allocators
from pilothouse.apiserver.bootstrap.chain import build_chain
from pilothouse.apiserver.bootstrap.component_roles import CONTROLLER_PREFIX
from pilothouse.apiserver.bootstrap.ensure import ensure
from pilothouse.apiserver.bootstrap.objects import Cluster
from pilothouse.apiserver.reader import StoreReader
from pilothouse.apiserver.server import ApiServer
from pilothouse.client.client import Client
from pilothouse.client.shared import SharedInformers
from pilothouse.client.wire import HandlerTransport, User
from pilothouse.controllers.certificates.authority import create_authority, key_pem, new_key
from pilothouse.controllers.start import INFORMERS, run_controllers
from pilothouse.kinds.catalogue import KINDS
from pilothouse.launch.simulation.nodes import VirtualNode, VirtualNodes
from pilothouse.scheduler.scheduler import run_scheduler
from pilothouse.store.memory import MemoryStore
from pilothouse.store.store import Store

POD_RANGE = "10.128.0.0/9"
"""Wide enough for a /24 on each of 32,768 nodes. No address of it is ever used."""
_SERVICE_RANGE = "10.96.0.0/16"
_DOMAIN = "cluster.local"


class Part(Enum):
    """What works on the cluster beside the API."""

    CONTROLLERS = "controllers"
    SCHEDULER = "scheduler"
    NODES = "nodes"
    """Leases and status of the virtual nodes, and the lives of their pods."""


@dataclass(frozen=True, slots=True)
class SimulatedCluster:
    """`admin` may do everything; `informers` hold what there is; `nodes` are the virtual ones at work."""

    api: ApiServer
    admin: Client
    informers: SharedInformers
    nodes: VirtualNodes
    client_for: Callable[..., Client]
    """A client with the identity of a component, by its name and groups."""
    tasks: list[asyncio.Task[None]]

    def start(self, part: Part) -> None:
        """Runs a part until the cluster ends."""
        self.tasks.append(asyncio.create_task(self._run(part)))

    async def _run(self, part: Part) -> None:
        match part:
            case Part.CONTROLLERS:
                await run_controllers(self.client_for, pod_range=POD_RANGE, informers=self.informers)
            case Part.SCHEDULER:
                await run_scheduler(self.client_for("system:kube-scheduler"), informers=self.informers)
            case Part.NODES:
                await self.nodes.run()


@contextlib.asynccontextmanager
async def simulated_cluster(
    nodes: Sequence[VirtualNode], store: Store | None = None, *, parts: Collection[Part] = tuple(Part)
) -> AsyncIterator[SimulatedCluster]:
    """Runs a cluster with these nodes registered and these parts at work; `store` is one in memory unless given, and is
    closed at the end."""
    kept = store or MemoryStore()
    issuer = f"https://kubernetes.default.svc.{_DOMAIN}"
    api = ApiServer(
        kept,
        build_chain(kept, key_pem(new_key()), issuer),
        KINDS,
        allocators=service_allocators(kept, _SERVICE_RANGE),
    )

    def client_for(name: str, *groups: str) -> Client:
        user = User(name if name.startswith("system:") else CONTROLLER_PREFIX + name, groups)
        return Client(HandlerTransport(api.handle, user), user_agent=name)

    admin = client_for("system:pilothouse:simulation", "system:masters")
    informers = SharedInformers(client_for(INFORMERS))
    virtual = VirtualNodes(
        nodes, admin, lambda name: client_for(f"system:node:{name}", "system:nodes", "system:authenticated"), informers
    )
    await ensure(StoreReader(kept), admin, _cluster())
    cluster = SimulatedCluster(api, admin, informers, virtual, client_for, [asyncio.create_task(informers.run())])
    try:
        for part in (Part.CONTROLLERS, Part.SCHEDULER):
            if part in parts:
                cluster.start(part)
        await virtual.register()
        if Part.NODES in parts:
            cluster.start(Part.NODES)
        yield cluster
    finally:
        for task in cluster.tasks:
            task.cancel()
        await asyncio.gather(*cluster.tasks, return_exceptions=True)
        await kept.close()


def _cluster() -> Cluster:
    certificate, _ = create_authority("simulation", dt.timedelta(days=1), dt.datetime.now(dt.UTC))
    return Cluster(
        service_ip="10.96.0.1",
        api_address="192.0.2.1",
        api_port=6443,
        server="https://192.0.2.1:6443",
        ca_pem=certificate,
        pod_range=POD_RANGE,
        service_range=_SERVICE_RANGE,
        domain=_DOMAIN,
    )
