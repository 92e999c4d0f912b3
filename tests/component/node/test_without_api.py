"""While the API server is away, pods are kept alive as they were last known."""

from __future__ import annotations

from pathlib import Path

import pytest
from node_world import World, until

from pilothouse.kinds.core.pod import Pod
from pilothouse.machinery.objects import Obj
from pilothouse.testing.control_plane import ControlPlane

SPEC: Obj = {
    "nodeName": "n1",
    "terminationGracePeriodSeconds": 1,
    "containers": [{"name": "a", "image": "img:1", "readinessProbe": {"exec": {"command": ["true"]}}}],
}


class OnePod(World):
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
        made = OnePod(tmp_path, plane)
        await made.client.request("POST", "/api/v1/namespaces", body={"metadata": {"name": "default"}})
        await made.client.create_tree(Pod.resource, {"metadata": {"name": "p"}, "spec": SPEC}, "default")
        made.start()
        await made.ready(0)
        yield made
        await made.stop()


async def test_a_container_that_ends_is_restarted(world: OnePod) -> None:
    world.switch.open = False
    world.runtime.end(world.container(), 1)
    await world.runs(2)
    world.switch.open = True
    await world.ready(1)


async def test_a_node_that_starts_without_the_api_restarts_what_ended(world: OnePod) -> None:
    await world.stop()
    world.switch.open = False
    world.runtime.end(world.container(), 1)
    world.start()
    await world.runs(2)


async def test_a_new_node_process_does_not_make_a_pod_unready(world: OnePod) -> None:
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


async def test_a_deleted_pod_that_is_held_shows_how_it_ended(world: OnePod) -> None:
    await world.client.patch(Pod, "p", "default", {"metadata": {"finalizers": ["example.com/held"]}})
    await world.client.delete(Pod, "p", "default")

    async def ended() -> bool:
        pod = await world.client.get(Pod, "p", "default")
        (container,) = pod.status.container_statuses
        ready = {c.type: c.status for c in pod.status.conditions}.get("Ready")
        return (
            pod.status.phase in ("Failed", "Succeeded") and container.state.terminated is not None and ready == "False"
        )

    await until(ended)
    await world.client.patch(Pod, "p", "default", {"metadata": {"finalizers": None}})

    async def gone() -> bool:
        return await world.client.find(Pod, "p", "default") is None

    await until(gone)
