"""From any partial state the same final state is reached: the node is stopped at each of its calls to the runtime."""

from __future__ import annotations

import asyncio
import contextlib
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from pilothouse.client.events import EventRecorder
from pilothouse.kinds.core.pod import Pod
from pilothouse.machinery.objects import Obj
from pilothouse.node.names import Resolver
from pilothouse.node.node import Node, NodeConfig
from pilothouse.node.settings import Settings
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

STAGED: Obj = {
    "nodeName": "n1",
    "terminationGracePeriodSeconds": 1,
    "initContainers": [
        {"name": "i", "image": "img:1"},
        {"name": "side", "image": "img:1", "restartPolicy": "Always"},
        {"name": "i2", "image": "img:1"},
    ],
    "containers": [{"name": "a", "image": "img:1"}],
}
ONE_SHOT: Obj = {
    "nodeName": "n1",
    "restartPolicy": "Never",
    "initContainers": [{"name": "side", "image": "img:1", "restartPolicy": "Always"}],
    "containers": [{"name": "once", "image": "img:1"}, {"name": "twice", "image": "img:1"}],
}
EVERYTHING_ENDS_BUT: Obj = {"i": 0, "i2": 0, "once": 0, "twice": 3}


@dataclass(frozen=True)
class Life:
    """A pod, and what it must come to: these containers running and Ready, or this phase."""

    spec: Obj
    running: tuple[str, ...] = ()
    phase: str = "Running"


LIVES = {
    "two containers": Life(SPEC, ("p/a", "p/b")),
    "init containers and a sidecar": Life(STAGED, ("p/a", "p/side")),
    "one shot that fails": Life(ONE_SHOT, phase="Failed"),
}


class World:
    """An API server and a runtime that outlive the nodes that work on them."""

    def __init__(self, root: Path, plane: ControlPlane, wanted: Life) -> None:
        self.wanted = wanted
        self.root = root
        self.client = plane.client()
        self._plane = plane
        self.runtime = FakeRuntime()
        self.runtime.add_image("img:1")
        self.runtime.ends = dict(EVERYTHING_ENDS_BUT)

    def node(self, **changes: Any) -> asyncio.Task[None]:
        config = NodeConfig(
            name="n1",
            address="192.0.2.1",
            data_dir=self.root,
            containerd_socket=self.root / "none",
            cgroup_root="/test",
            cgroup_filesystem=self.root / "cgroup",
            host_resolver=Resolver(),
            **changes,
        )
        client = self._plane.client(user_agent="node")
        return asyncio.create_task(Node(config, client, EventRecorder(client, "node"), runtime=self.runtime).run())

    async def until(self, node: asyncio.Task[None], wanted: str) -> None:
        """Waits for the state `wanted`, or for the node to crash."""
        deadline = time.monotonic() + 10
        while not self.runtime.crashed:
            if wanted == "runs" and self.runtime.running() == list(self.wanted.running) and await self._settled():
                return
            if wanted == "gone" and await self.client.find(Pod, "p", "default") is None and self._nothing_left():
                return
            assert time.monotonic() < deadline, (wanted, self.runtime.calls, self.runtime.running())
            await asyncio.sleep(0.005)

    def _nothing_left(self) -> bool:
        return not self.runtime.sandboxes and not any((self.root / "pods").iterdir())

    async def _settled(self) -> bool:
        pod = await self.client.get(Pod, "p", "default")
        ready = any(c.type == "Ready" and c.status == "True" for c in pod.status.conditions)
        return pod.status.phase == self.wanted.phase and ready == (self.wanted.phase == "Running")

    async def life(self) -> None:
        """A pod's whole life, with nodes that crash replaced by new ones."""
        await self.client.create_tree(Pod.resource, {"metadata": {"name": "p"}, "spec": self.wanted.spec}, "default")
        node = await self._reach("runs", self.node())
        assert len([s for s in self.runtime.sandboxes.values() if s.ready]) <= 1
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


@pytest.mark.parametrize("wanted", LIVES.values(), ids=LIVES)
@pytest.mark.parametrize("after_effect", [False, True], ids=["before the effect", "after the effect"])
async def test_every_crash_ends_well(tmp_path: Path, after_effect: bool, wanted: Life) -> None:
    calls = await one_life(tmp_path / "whole", None, after_effect, wanted)
    assert calls > 10
    for number in range(1, calls + 1):
        await one_life(tmp_path / str(number), number, after_effect, wanted)


async def test_an_eviction_outlives_the_node_that_decided_it(tmp_path: Path) -> None:
    """The node dies as it stops the first container; the next one, which lacks nothing, ends the pod all the same."""
    (tmp_path / "cgroup").mkdir()
    async with ControlPlane() as plane:
        world = World(tmp_path, plane, LIVES["two containers"])
        await world.client.request("POST", "/api/v1/namespaces", body={"metadata": {"name": "default"}})
        await world.client.create_tree(Pod.resource, {"metadata": {"name": "p"}, "spec": SPEC}, "default")
        node = world.node()
        await world.until(node, "runs")
        await end(node)
        world.runtime.crash_on = "StopContainer"
        short = Settings(eviction_hard={"memory.available": "500Ti"})
        node = world.node(settings=short, eviction_period=0.01)
        await world.until(node, "a crash")
        await end(node)
        world.runtime.revive()
        node = world.node()
        world.wanted = Life(SPEC, phase="Failed")
        await world.until(node, "runs")
        pod = await world.client.get(Pod, "p", "default")
        assert pod.status.reason == "Evicted"
        assert "The node was low on resource: memory." in pod.status.message
        await end(node)


async def one_life(root: Path, crash_at: int | None, after_effect: bool, wanted: Life) -> int:
    (root / "cgroup").mkdir(parents=True)
    async with ControlPlane() as plane:
        world = World(root, plane, wanted)
        await world.client.request("POST", "/api/v1/namespaces", body={"metadata": {"name": "default"}})
        world.runtime.crash_at, world.runtime.crash_after_effect = crash_at, after_effect
        await world.life()
        return len(world.runtime.calls)
