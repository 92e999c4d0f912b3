"""From any partial state the same final state is reached: the node is stopped at each of its calls to the runtime."""

from __future__ import annotations

import asyncio
import contextlib
import time
from pathlib import Path

import pytest

from pilothouse.client.events import EventRecorder
from pilothouse.kinds.core.pod import Pod
from pilothouse.machinery.objects import Obj
from pilothouse.node.names import Resolver
from pilothouse.node.node import Node, NodeConfig
from pilothouse.testing.control_plane import ControlPlane
from pilothouse.testing.fake_cri import Crash, FakeRuntime

SPEC: Obj = {
    "nodeName": "n1",
    "terminationGracePeriodSeconds": 1,
    "volumes": [{"name": "v", "emptyDir": {}}],
    "containers": [
        {"name": "a", "image": "img:1", "volumeMounts": [{"name": "v", "mountPath": "/v"}]},
        {"name": "b", "image": "img:1"},
    ],
}


class World:
    """An API server and a runtime that outlive the nodes that work on them."""

    def __init__(self, root: Path, plane: ControlPlane) -> None:
        self.root = root
        self.client = plane.client()
        self._plane = plane
        self.runtime = FakeRuntime()
        self.runtime.add_image("img:1")

    def node(self) -> asyncio.Task[None]:
        config = NodeConfig(
            name="n1",
            address="192.0.2.1",
            data_dir=self.root,
            containerd_socket=self.root / "none",
            cgroup_root="/test",
            cgroup_filesystem=self.root / "cgroup",
            host_resolver=Resolver(),
        )
        client = self._plane.client(user_agent="node")
        return asyncio.create_task(Node(config, client, EventRecorder(client, "node"), runtime=self.runtime).run())

    async def until(self, node: asyncio.Task[None], wanted: str) -> None:
        """Waits for the state `wanted`, or for the node to crash."""
        deadline = time.monotonic() + 10
        while not self.runtime.crashed:
            if wanted == "runs" and self.runtime.running() == ["p/a", "p/b"] and await self._ready():
                return
            if wanted == "gone" and await self.client.find(Pod, "p", "default") is None and not self.runtime.sandboxes:
                return
            assert time.monotonic() < deadline, (wanted, self.runtime.calls, self.runtime.running())
            await asyncio.sleep(0.005)

    async def _ready(self) -> bool:
        pod = await self.client.get(Pod, "p", "default")
        return any(c.type == "Ready" and c.status == "True" for c in pod.status.conditions)

    async def life(self) -> None:
        """A pod's whole life, with nodes that crash replaced by new ones."""
        await self.client.create_tree(Pod.resource, {"metadata": {"name": "p"}, "spec": SPEC}, "default")
        node = await self._reach("runs", self.node())
        assert len([s for s in self.runtime.sandboxes.values() if s.ready]) == 1
        await self.client.delete(Pod, "p", "default")
        node = await self._reach("gone", node)
        assert self.runtime.containers == {}
        await end(node)
        assert list((self.root / "pods").iterdir()) == []

    async def _reach(self, wanted: str, node: asyncio.Task[None]) -> asyncio.Task[None]:
        await self.until(node, wanted)
        if self.runtime.crashed:
            await end(node)
            self.runtime.revive()
            node = self.node()
            await self.until(node, wanted)
        return node


async def end(node: asyncio.Task[None]) -> None:
    node.cancel()
    with contextlib.suppress(asyncio.CancelledError, BaseExceptionGroup, Crash):
        await node


@pytest.mark.parametrize("after_effect", [False, True], ids=["before the effect", "after the effect"])
async def test_every_crash_ends_well(tmp_path: Path, after_effect: bool) -> None:
    calls = await one_life(tmp_path / "whole", None, after_effect)
    assert calls > 10
    for number in range(1, calls + 1):
        await one_life(tmp_path / str(number), number, after_effect)


async def one_life(root: Path, crash_at: int | None, after_effect: bool) -> int:
    (root / "cgroup").mkdir(parents=True)
    async with ControlPlane() as plane:
        world = World(root, plane)
        await world.client.request("POST", "/api/v1/namespaces", body={"metadata": {"name": "default"}})
        world.runtime.crash_at, world.runtime.crash_after_effect = crash_at, after_effect
        await world.life()
        return len(world.runtime.calls)
