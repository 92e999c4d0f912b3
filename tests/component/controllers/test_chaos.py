"""The control plane dies at random steps of rollouts, and the world ends as if it had not."""

from __future__ import annotations

import asyncio
import random
from collections import Counter
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from cluster_world import Cluster, deployment

from pilothouse.client.client import Client
from pilothouse.client.shared import SharedInformers
from pilothouse.client.wire import Request, Response, Transport, User
from pilothouse.controllers.start import run_controllers
from pilothouse.kinds.apps.daemon_set import DaemonSet
from pilothouse.kinds.apps.deployment import Deployment
from pilothouse.kinds.apps.replica_set import ReplicaSet
from pilothouse.kinds.apps.stateful_set import StatefulSet
from pilothouse.kinds.batch.job import Job
from pilothouse.kinds.core.namespace import Namespace
from pilothouse.kinds.core.pod import Pod
from pilothouse.kinds.core.service import Service
from pilothouse.machinery.objects import Obj
from pilothouse.scheduler.scheduler import run_scheduler
from pilothouse.testing.control_plane import ControlPlane

_FARTHEST = 25
"""The most writes a life of the control plane lasts."""
_LIVES = 12


class Fate:
    """After a random number of writes whoever makes the next one dies: before it is carried out, or unanswered."""

    def __init__(self, seed: int | None) -> None:
        self._random = random.Random(seed)
        self._lives = 0 if seed is None else _LIVES
        self._left = self._random.randint(1, _FARTHEST)
        self.struck = asyncio.Event()
        self.deaths = 0

    async def send(self, request: Request, send: Callable[[Request], Awaitable[Response]]) -> Response:
        if request.method == "GET" or "/events" in request.path or not self._lives:
            return await send(request)
        self._left -= 1
        if self._left > 0:
            return await send(request)
        if self._left == 0:
            if self._random.random() < 0.5:
                await send(request)
            self.struck.set()
        await asyncio.Event().wait()
        raise AssertionError("the dead do not speak")

    def reborn(self) -> None:
        self.struck.clear()
        self.deaths += 1
        self._lives -= 1
        self._left = self._random.randint(1, _FARTHEST)


class Mortal:
    """The transport of a component that may die."""

    def __init__(self, inner: Transport, fate: Fate) -> None:
        self._inner, self._fate = inner, fate

    async def send(self, request: Request) -> Response:
        return await self._fate.send(request, self._inner.send)

    async def close(self) -> None:
        await self._inner.close()


class MortalCluster(Cluster):
    """Controllers and scheduler with informers of their own die together, at any write, and start anew."""

    def __init__(self, plane: ControlPlane, fate: Fate) -> None:
        super().__init__(plane)
        self.fate = fate

    async def run(self) -> None:
        async with asyncio.TaskGroup() as group:
            self.watch()
            group.create_task(self.informers.run())
            while True:
                life = group.create_task(self._life())
                await self.fate.struck.wait()
                life.cancel()
                await asyncio.wait([life])
                self.fate.reborn()

    def _client(self, name: str) -> Client:
        return Client(Mortal(self.plane.transport(User(name)), self.fate))

    async def _life(self) -> None:
        informers = SharedInformers(self.plane.client(User("system:controller:informers")))
        async with asyncio.TaskGroup() as group:
            controllers = run_controllers(
                lambda name: self._client(f"system:controller:{name}"), pod_range="10.244.0.0/16", informers=informers
            )
            group.create_task(controllers)
            group.create_task(run_scheduler(self._client("system:kube-scheduler"), informers=informers))
            group.create_task(informers.run())


def stateful(replicas: int, image: str = "db:1") -> Obj:
    tree = deployment(name="db", replicas=replicas, image=image)
    tree["spec"]["serviceName"] = "db"
    return tree


def daemons(image: str = "agent:1") -> Obj:
    tree = deployment(name="agent", image=image)
    del tree["spec"]["replicas"]
    return tree


def job(completions: int) -> Obj:
    container = {"name": "main", "image": "job:1"}
    spec = {"restartPolicy": "Never", "containers": [container]}
    return {
        "metadata": {"name": "sums"},
        "spec": {"completions": completions, "parallelism": 2, "template": {"spec": spec}},
    }


async def story(cluster: Cluster) -> None:
    """Everything is made, updated and scaled; the world is let come to rest in between only where it must."""
    for name in ("n1", "n2", "n3"):
        await cluster.add_node(name, cpu="64")
    client = cluster.client
    await client.create_tree(Service.resource, {"metadata": {"name": "web"}, "spec": SELECTED}, "shop")
    await client.create_tree(Deployment.resource, deployment(replicas=5), "shop")
    await client.create_tree(StatefulSet.resource, stateful(3), "shop")
    await client.create_tree(DaemonSet.resource, daemons(), "shop")
    await client.create_tree(Job.resource, job(4), "shop")
    await cluster.until(lambda: at_rest(cluster, "web:1", 5), 60)
    await set_image(client, Deployment, "web", "web:2")
    await set_image(client, StatefulSet, "db", "db:2")
    await set_image(client, DaemonSet, "agent", "agent:2")
    await cluster.until(lambda: any(p.spec.containers[0].image == "web:2" for p in cluster.all(Pod)), 60)
    await set_image(client, Deployment, "web", "web:3")
    await client.patch(Deployment, "web", "shop", {"spec": {"replicas": 7}})
    await cluster.until(lambda: at_rest(cluster, "web:3", 7, "db:2", "agent:2"), 60)


SELECTED = {"selector": {"app": "web"}, "ports": [{"port": 80}]}


async def set_image(client: Client, cls: type[Any], name: str, image: str) -> None:
    template = {"spec": {"containers": [{"name": "main", "image": image}]}}
    await client.patch(cls, name, "shop", {"spec": {"template": template}}, type="strategic")


def at_rest(cluster: Cluster, web: str, size: int, db: str = "db:1", agent: str = "agent:1") -> bool:
    """All that is wanted is there, nothing else, and the statuses say so."""
    pods = Counter(pod.spec.containers[0].image for pod in cluster.all(Pod) if pod.status.phase == "Running")
    if any(pod.metadata.deletion_timestamp for pod in cluster.all(Pod)) or pods != {web: size, db: 3, agent: 3}:
        return False
    deploy, sets = cluster.get(Deployment, "shop/web"), cluster.get(StatefulSet, "shop/db")
    daemon = cluster.get(DaemonSet, "shop/agent")
    made = cluster.get(Job, "shop/sums")
    return (
        all(obj.status.observed_generation == obj.metadata.generation for obj in (deploy, sets, daemon))
        and deploy.status.available_replicas == deploy.status.updated_replicas == deploy.status.replicas == size
        and sets.status.ready_replicas == 3
        and sets.status.current_revision == sets.status.update_revision
        and daemon.status.number_available == daemon.status.updated_number_scheduled == 3
        and made.status.succeeded == 4
        and any(c.type == "Complete" for c in made.status.conditions)
    )


def essence(cluster: Cluster) -> Obj:
    """What is left at the end, without what chance decides."""
    sets = {(rs.spec.template["spec"]["containers"][0]["image"], rs.spec.replicas) for rs in cluster.all(ReplicaSet)}
    owned = Counter((pod.controller().kind, pod.status.phase) for pod in cluster.all(Pod))
    ordinals = sorted(pod.name for pod in cluster.all(Pod) if pod.controller().kind == "StatefulSet")
    conditions = {(c.type, c.status, c.reason) for c in cluster.get(Deployment, "shop/web").status.conditions}
    status = cluster.get(Job, "shop/sums").status
    return {
        "sets": sets,
        "owned": owned,
        "ordinals": ordinals,
        "conditions": conditions,
        "job": (status.succeeded, status.failed, status.active),
    }


async def play(seed: int | None) -> tuple[Obj, int, list[int]]:
    """The end of the story, the deaths on the way, and how many pods of `web` there were at each moment."""
    async with ControlPlane() as plane:
        fate = Fate(seed)
        cluster = MortalCluster(plane, fate)
        await cluster.client.create_tree(Namespace.resource, {"metadata": {"name": "shop"}})
        cluster.finishes = lambda pod: pod.spec.containers[0].image == "job:1"
        running = asyncio.create_task(cluster.run())
        living: list[int] = []

        def count(key: str, old: Pod | None, new: Pod | None) -> None:
            pods = [p for p in cluster.all(Pod) if p.spec.containers[0].image.startswith("web:")]
            living.append(sum(p.metadata.deletion_timestamp is None for p in pods))

        cluster.informers.of(Pod).subscribe(count)
        try:
            await story(cluster)
            return essence(cluster), fate.deaths, living
        finally:
            running.cancel()
            await asyncio.wait([running])


async def check(seed: int) -> None:
    expected, _, _ = await play(None)
    found, deaths, living = await play(seed)
    assert deaths >= 3
    assert found == expected
    # 7 wanted and a quarter more, rounded up.
    assert max(living) <= 9


@pytest.mark.parametrize("seed", [1, 2])
async def test_the_end_is_the_same_however_often_the_control_plane_dies(seed: int) -> None:
    await check(seed)


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(100, 130))
async def test_the_end_is_the_same_whatever_the_moment(seed: int) -> None:
    await check(seed)
