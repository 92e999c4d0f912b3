"""While the API server is away, pods are kept alive as they were last known."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest

from pilothouse.client.client import Client
from pilothouse.client.events import EventRecorder
from pilothouse.client.wire import Request, Response
from pilothouse.kinds.core.pod import Pod
from pilothouse.machinery.errors import ServiceUnavailable
from pilothouse.machinery.objects import Obj
from pilothouse.node.names import Resolver
from pilothouse.node.node import Node, NodeConfig
from pilothouse.testing.control_plane import ADMIN, ControlPlane
from pilothouse.testing.fake_cri import FakeRuntime

SPEC: Obj = {
    "nodeName": "n1",
    "terminationGracePeriodSeconds": 1,
    "containers": [{"name": "a", "image": "img:1", "readinessProbe": {"exec": {"command": ["true"]}}}],
}


class Switch:
    """A way to the API server that can be cut."""

    def __init__(self, plane: ControlPlane) -> None:
        self._plane = plane
        self.open = True

    async def send(self, request: Request) -> Response:
        if not self.open:
            raise ServiceUnavailable("cut")
        request.user = ADMIN
        return await self._plane.api.handle(request)

    async def close(self) -> None:
        return None


async def until(check: Callable[[], Awaitable[bool]]) -> None:
    """Waits until `check` holds."""
    async with asyncio.timeout(20):
        while True:
            if await check():
                return
            await asyncio.sleep(0.01)


class World:
    def __init__(self, root: Path, plane: ControlPlane) -> None:
        self.root = root
        self.client = plane.client()
        self.switch = Switch(plane)
        self.runtime = FakeRuntime()
        self.runtime.add_image("img:1")
        self._task: asyncio.Task[None] | None = None
        self.node: Node | None = None

    def start(self) -> None:
        config = NodeConfig(
            name="n1",
            address="192.0.2.1",
            data_dir=self.root,
            containerd_socket=self.root / "none",
            cgroup_root="/test",
            cgroup_filesystem=self.root / "cgroup",
            host_resolver=Resolver(),
        )
        client = Client(self.switch)
        self.node = Node(config, client, EventRecorder(client, "node"), runtime=self.runtime)
        self._task = asyncio.create_task(self.node.run())

    async def stop(self) -> None:
        assert self._task is not None
        self._task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await self._task

    def container(self) -> str:
        """The id of the newest container of the pod."""
        return max(self.runtime.containers)

    async def runs(self, attempts: int) -> None:
        async def check() -> bool:
            return len(self.runtime.containers) >= attempts and self.runtime.running() == ["p/a"]

        await until(check)

    async def ready(self, restarts: int) -> None:
        async def check() -> bool:
            return (await self.status())[:2] == (True, restarts)

        await until(check)

    async def status(self) -> tuple[bool, int, str | None]:
        """Ready, restarts, and when it became ready."""
        pod = await self.client.get(Pod, "p", "default")
        ready = next((c for c in pod.status.conditions if c.type == "Ready"), None)
        restarts = pod.status.container_statuses[0].restart_count if pod.status.container_statuses else 0
        return ready is not None and ready.status == "True", restarts, ready.last_transition_time if ready else None


@pytest.fixture
async def world(tmp_path: Path):
    (tmp_path / "cgroup").mkdir()
    async with ControlPlane() as plane:
        made = World(tmp_path, plane)
        await made.client.request("POST", "/api/v1/namespaces", body={"metadata": {"name": "default"}})
        await made.client.create_tree(Pod.resource, {"metadata": {"name": "p"}, "spec": SPEC}, "default")
        made.start()
        await made.ready(0)
        yield made
        await made.stop()


async def test_a_container_that_ends_is_restarted(world: World) -> None:
    world.switch.open = False
    world.runtime.end(world.container(), 1)
    await world.runs(2)
    world.switch.open = True
    await world.ready(1)


async def test_a_node_that_starts_without_the_api_restarts_what_ended(world: World) -> None:
    await world.stop()
    world.switch.open = False
    world.runtime.end(world.container(), 1)
    world.start()
    await world.runs(2)


async def test_a_new_node_process_does_not_make_a_pod_unready(world: World) -> None:
    before = await world.status()
    await world.stop()
    world.start()

    async def adopted() -> bool:
        assert await world.status() == before
        assert world.node is not None
        state = world.node.pods.get("default", "p")
        return state is not None and state.any_running and state.admitted

    await until(adopted)
    assert await world.status() == before
