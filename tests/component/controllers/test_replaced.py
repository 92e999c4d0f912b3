"""Controllers under one identity, as upstream's controller manager has it: its role is enough, with the real chain."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest
import pytest_asyncio
from cluster_world import Cluster, deployment

from pilothouse.apiserver.bootstrap.chain import build_chain
from pilothouse.apiserver.bootstrap.ensure import ensure
from pilothouse.apiserver.bootstrap.objects import Cluster as Facts
from pilothouse.apiserver.reader import StoreReader
from pilothouse.client.client import Client
from pilothouse.client.shared import SharedInformers
from pilothouse.client.wire import User
from pilothouse.controllers.certificates.authority import key_pem, new_key
from pilothouse.controllers.start import REPLACEABLE, run_controllers
from pilothouse.kinds.apps.deployment import Deployment
from pilothouse.kinds.core.endpoints import Endpoints
from pilothouse.kinds.core.namespace import Namespace
from pilothouse.kinds.core.pod import Pod
from pilothouse.kinds.core.service import Service
from pilothouse.kinds.policy.pod_disruption_budget import PodDisruptionBudget
from pilothouse.store.memory import MemoryStore
from pilothouse.testing.control_plane import ControlPlane

FACTS = Facts(
    "10.96.0.1",
    "192.0.2.7",
    6443,
    "https://192.0.2.7:6443",
    b"-----BEGIN CERTIFICATE-----\n",
    "10.244.0.0/16",
    "10.96.0.0/16",
    "cluster.local",
)


class Managed(Cluster):
    """Ours run but for those left out; another runs these, as one user with rights of its own."""

    @property
    def manager(self) -> Client:
        return self.plane.client(User("system:kube-controller-manager"))

    async def run_controllers(self) -> None:  # type: ignore[override]
        others = SharedInformers(self.manager)
        async with asyncio.TaskGroup() as group:
            ours = run_controllers(
                lambda name: self.plane.client(User(f"system:controller:{name}")),
                pod_range="10.244.0.0/16",
                informers=self.informers,
                without=REPLACEABLE,
            )
            group.create_task(ours)
            theirs = run_controllers(lambda name: self.manager, pod_range="10.244.0.0/16", informers=others)
            group.create_task(theirs)
            group.create_task(others.run())


@pytest_asyncio.fixture
async def cluster() -> AsyncIterator[Cluster]:
    store = MemoryStore()
    chain = build_chain(store, key_pem(new_key()), "https://kubernetes.default.svc.cluster.local")
    async with ControlPlane(store=store, chain=chain) as plane:
        made = Managed(plane)
        await ensure(StoreReader(store), made.client, FACTS)
        await made.client.create_tree(Namespace.resource, {"metadata": {"name": "shop"}})
        running = asyncio.create_task(made.run())
        yield made
        running.cancel()
        made.controllers.cancel()
        await asyncio.wait([running, made.controllers])


async def test_one_identity_with_its_role_is_enough(cluster: Cluster, caplog: pytest.LogCaptureFixture) -> None:
    await cluster.add_node("n1")
    ports = {"selector": {"app": "web"}, "ports": [{"port": 80}]}
    selector = {"matchLabels": {"app": "web"}}
    await cluster.client.create_tree(Service.resource, {"metadata": {"name": "web"}, "spec": ports}, "shop")
    budget = {"metadata": {"name": "web"}, "spec": {"maxUnavailable": 1, "selector": selector}}
    await cluster.client.create_tree(PodDisruptionBudget.resource, budget, "shop")
    await cluster.client.create_tree(Deployment.resource, deployment(), "shop")

    def done() -> bool:
        found = cluster.get(Deployment, "shop/web")
        budget = cluster.get(PodDisruptionBudget, "shop/web")
        addresses = cluster.get(Endpoints, "shop/web")
        return bool(
            found is not None
            and found.status.available_replicas == 3
            and budget.status.disruptions_allowed == 1
            and addresses is not None
            and sum(len(subset.addresses) for subset in addresses.subsets) == 3
        )

    await cluster.until(done)
    await cluster.client.delete(Deployment, "web", "shop", propagation_policy="Foreground")
    await cluster.until(lambda: not cluster.all(Pod) and cluster.get(Deployment, "shop/web") is None)
    assert "forbidden" not in caplog.text
