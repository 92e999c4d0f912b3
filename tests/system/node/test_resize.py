"""Resize on a real runtime: the kernel's limits change under a container that goes on running."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from node_cluster import Cluster

from pilothouse.kinds.core.pod import Pod

pytestmark = pytest.mark.system

STRATEGIC = "application/strategic-merge-patch+json"


def resources(memory: str, cpu: str = "100m") -> dict[str, Any]:
    return {"limits": {"memory": memory, "cpu": cpu}, "requests": {"memory": memory, "cpu": cpu}}


async def resize(cluster: Cluster, name: str, memory: str, cpu: str = "100m") -> None:
    body = {"spec": {"containers": [{"name": "c0", "resources": resources(memory, cpu)}]}}
    path = Pod.resource.path("default", name, "resize")
    await cluster.client.request("PATCH", path, body=body, content_type=STRATEGIC)


def kernel_limit(container_id: str) -> int:
    """The memory limit of the container's group, by either version of cgroups."""
    key = container_id.removeprefix("containerd://")
    for name in ("memory.limit_in_bytes", "memory.max"):
        for found in Path("/sys/fs/cgroup").glob(f"**/pod*/{key}/{name}"):
            return int(found.read_text())
    raise AssertionError(f"no group of {key}")


async def shown(cluster: Cluster, name: str, memory: str) -> bool:
    status = (await cluster.raw(name))["status"]["containerStatuses"][0]
    return bool(status.get("resources", {}).get("limits", {}).get("memory") == memory)


async def test_a_container_grows_and_shrinks_without_a_restart(cluster: Cluster) -> None:
    container = {"command": ["sh", "-c", "exec sleep 1000"], "resources": resources("32Mi")}
    await cluster.create("sized", {"containers": [container]})
    before = (await cluster.ready("sized")).status.container_statuses[0]
    for memory, size in (("64Mi", 64 << 20), ("48Mi", 48 << 20)):
        await resize(cluster, "sized", memory, "200m")
        await cluster.until(lambda memory=memory: shown(cluster, "sized", memory), f"it has {memory}")
        assert kernel_limit(before.container_id) == size
    after = await cluster.container("sized")
    assert (after.container_id, after.restart_count) == (before.container_id, 0)
    await cluster.stop_node()
    cluster.start_node()
    await cluster.until(lambda: shown(cluster, "sized", "48Mi"), "another node shows the same")
    assert kernel_limit(before.container_id) == 48 << 20


async def test_a_container_that_asks_for_it_is_restarted(cluster: Cluster) -> None:
    policy = [{"resourceName": "memory", "restartPolicy": "RestartContainer"}]
    script = "trap 'exit 0' TERM; while sleep 0.1; do :; done"
    container = {"command": ["sh", "-c", script], "resources": resources("32Mi"), "resizePolicy": policy}
    await cluster.create("anew", {"containers": [container]})
    await cluster.ready("anew")
    await resize(cluster, "anew", "64Mi")

    async def restarted() -> bool:
        return (await cluster.container("anew")).restart_count == 1 and await shown(cluster, "anew", "64Mi")

    await cluster.until(restarted, "it runs anew with more")
    assert kernel_limit((await cluster.container("anew")).container_id) == 64 << 20


async def test_more_than_the_node_has(cluster: Cluster) -> None:
    container = {"command": ["sh", "-c", "exec sleep 1000"], "resources": resources("32Mi")}
    await cluster.create("greedy", {"containers": [container]})
    await cluster.ready("greedy")
    await resize(cluster, "greedy", "32Mi", "1000")

    async def condition() -> tuple[str, str] | None:
        found = {c.type: c for c in (await cluster.pod("greedy")).status.conditions}.get("PodResizePending")
        return (found.reason, found.message) if found is not None else None

    reason, message = await cluster.until(condition, "it says so")
    assert reason == "Infeasible"
    assert message.startswith("Node didn't have enough resource: cpu, requested: 1000000, used: 0, capacity: ")
    await resize(cluster, "greedy", "32Mi", "100m")

    async def forgotten() -> bool:
        return await condition() is None

    await cluster.until(forgotten, "nothing is pending any more")
