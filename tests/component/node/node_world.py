"""A node with a runtime in memory, and a way to the API server that can be cut."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable
from pathlib import Path

from pilothouse.client.client import Client
from pilothouse.client.events import EventRecorder
from pilothouse.client.wire import Request, Response
from pilothouse.machinery.errors import ServiceUnavailable
from pilothouse.node.names import Resolver
from pilothouse.node.node import Node, NodeConfig
from pilothouse.node.settings import Settings
from pilothouse.testing.control_plane import ADMIN, ControlPlane
from pilothouse.testing.fake_cri import FakeRuntime


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


async def _together(node: Node, recorder: EventRecorder) -> None:
    async with asyncio.TaskGroup() as group:
        group.create_task(node.run())
        group.create_task(recorder.run())


class World:
    """The API server and the runtime outlive the node."""

    def __init__(self, root: Path, plane: ControlPlane) -> None:
        self.root = root
        self.client = plane.client()
        self.switch = Switch(plane)
        self.runtime = FakeRuntime()
        self.runtime.add_image("img:1")
        self._task: asyncio.Task[None] | None = None
        self.node: Node | None = None

    def settings(self) -> Settings:
        return Settings()

    def start(self) -> None:
        config = NodeConfig(
            name="n1",
            address="192.0.2.1",
            data_dir=self.root,
            containerd_socket=self.root / "none",
            cgroup_root="/test",
            cgroup_filesystem=self.root / "cgroup",
            host_resolver=Resolver(),
            settings=self.settings(),
        )
        client = Client(self.switch)
        recorder = EventRecorder(client, "node")
        self.node = Node(config, client, recorder, runtime=self.runtime)
        self._task = asyncio.create_task(_together(self.node, recorder))

    async def stop(self) -> None:
        assert self._task is not None
        self._task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await self._task
