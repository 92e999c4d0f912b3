"""Eviction on a real runtime: limits on disk, pressure of memory, and a fork bomb held by its pod's limit."""

from __future__ import annotations

import pytest
from node_cluster import Cluster

from pilothouse.kinds.core.pod import Pod
from pilothouse.node.settings import Settings

pytestmark = pytest.mark.system


def sh(script: str) -> list[str]:
    return ["sh", "-c", script]


def limited(name: str, limit: str) -> dict[str, object]:
    return {
        "volumes": [{"name": name, "emptyDir": {"sizeLimit": limit}}],
        "containers": [
            {
                "command": sh("dd if=/dev/zero of=/v/fill bs=1024k count=8; exec sleep 1000"),
                "volumeMounts": [{"name": name, "mountPath": "/v"}],
            }
        ],
    }


async def ended(cluster: Cluster, name: str) -> Pod:
    pod = await cluster.phase(name, "Failed", seconds=60)
    assert pod.status.reason == "Evicted"
    return pod


async def test_a_volume_over_its_limit_ends_its_pod_only(cluster: Cluster) -> None:
    await cluster.stop_node()
    cluster.start_node(eviction_period=0.5)
    await cluster.create("neighbour", {"containers": [{"command": sh("exec sleep 1000")}]})
    await cluster.create("over", limited("cache", "4Mi"))
    await cluster.create("within", limited("cache", "64Mi"))
    pod = await ended(cluster, "over")
    assert pod.status.message == 'Usage of EmptyDir volume "cache" exceeds the limit "4Mi". '
    target = next(c for c in pod.status.conditions if c.type == "DisruptionTarget")
    assert (target.status, target.reason) == ("True", "TerminationByKubelet")
    await cluster.ready("neighbour")
    await cluster.ready("within")

    async def told() -> bool:
        return "Warning Evicted over: Usage of EmptyDir" in await cluster.events()

    await cluster.until(told, "the eviction is told")
    await cluster.stop_node()
    cluster.start_node(eviction_period=0.5)
    await cluster.ready("within")
    assert (await cluster.pod("over")).status.phase == "Failed"


async def test_a_container_that_fills_its_own_layer_or_log(cluster: Cluster) -> None:
    await cluster.stop_node()
    cluster.start_node(eviction_period=0.5)
    limits = {"resources": {"limits": {"ephemeral-storage": "4Mi"}}}
    layer = {"command": sh("dd if=/dev/zero of=/fill bs=1024k count=8; exec sleep 1000"), **limits}
    await cluster.create("layer", {"containers": [layer]})
    log = {"command": sh("yes | head -c 5000000; exec sleep 1000"), **limits}
    await cluster.create("log", {"containers": [log]})
    for name in ("layer", "log"):
        pod = await ended(cluster, name)
        assert pod.status.message == "Pod ephemeral local storage usage exceeds the total limit of containers 4Mi. "


async def test_memory_pressure(cluster: Cluster) -> None:
    await cluster.create("best-effort", {"containers": [{"command": sh("exec sleep 1000")}]})
    await cluster.ready("best-effort")
    await cluster.stop_node()
    cluster.start_node(eviction_period=0.5, settings=Settings(eviction_hard={"memory.available": "500Ti"}))
    pod = await ended(cluster, "best-effort")
    assert "The node was low on resource: memory. Threshold quantity: 500Ti, available: " in pod.status.message
    await cluster.create("late", {"containers": [{"command": sh("exec sleep 1000")}]})
    refused = await ended(cluster, "late")
    assert refused.status.message == "Pod was rejected: The node had condition: [MemoryPressure]. "


async def test_a_fork_bomb_is_held(cluster: Cluster) -> None:
    await cluster.stop_node()
    cluster.start_node(settings=Settings(pod_pids_limit=64))
    await cluster.create("neighbour", {"containers": [{"command": sh("exec sleep 1000")}]})
    bomb = "for i in $(seq 200); do sleep 1000 & done; echo all of them; exec sleep 1000"
    await cluster.create("bomb", {"containers": [{"command": sh(bomb)}]})

    async def held() -> bool:
        return "can't fork" in cluster.log("bomb") or "can't fork" in (await cluster.container("bomb")).name

    await cluster.until(held, "the kernel refuses to fork")
    assert "all of them" not in cluster.log("bomb")
    pod = await cluster.ready("neighbour")
    assert pod.status.container_statuses[0].restart_count == 0
