"""What goes wrong in pods is named in events and stays theirs: a neighbour keeps running throughout."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
from node_cluster import Cluster

pytestmark = pytest.mark.system


def sh(script: str) -> list[str]:
    return ["sh", "-c", script]


@pytest.fixture
async def neighbour(cluster: Cluster) -> AsyncIterator[None]:
    """A pod that must be ready, and never restarted, before and after."""
    await cluster.create("neighbour", {"containers": [{"command": sh("exec sleep 1000")}]})
    before = await cluster.ready("neighbour")
    yield
    after = await cluster.ready("neighbour")
    assert after.status.container_statuses[0] == before.status.container_statuses[0]


async def told(cluster: Cluster, *words: str) -> None:
    async def check() -> bool:
        return any(all(word in line for word in words) for line in (await cluster.events()).splitlines())

    await cluster.until(check, f"an event says {words}", 60)


@pytest.mark.usefixtures("neighbour")
async def test_probes_that_hang(cluster: Cluster) -> None:
    hung = {"exec": {"command": sh("exec sleep 1000")}, "timeoutSeconds": 1, "periodSeconds": 1, "failureThreshold": 1}
    await cluster.create("hung", {"containers": [{"command": sh("exec sleep 1000"), "livenessProbe": hung}]})
    await told(cluster, "Warning Unhealthy hung: Liveness probe failed: ", "timed out")
    await told(cluster, "Normal Killing hung: Container c0 failed liveness probe, will be restarted")

    async def restarted() -> bool:
        return (await cluster.container("hung")).restart_count > 0

    await cluster.until(restarted, "it is restarted", 60)


@pytest.mark.usefixtures("neighbour")
async def test_an_entry_point_that_is_not_there(cluster: Cluster) -> None:
    await cluster.create("missing", {"containers": [{"command": ["/no/such/program"]}]})
    await told(cluster, "Warning Failed missing: Error:", "/no/such/program", "no such file or directory")


@pytest.mark.usefixtures("neighbour")
async def test_volumes_that_cannot_be_mounted(cluster: Cluster) -> None:
    mount = {"volumeMounts": [{"name": "v", "mountPath": "/v"}], "command": sh("exec sleep 1000")}
    absent = {"hostPath": {"path": "/no/such/directory", "type": "Directory"}}
    await cluster.create("absent", {"volumes": [{"name": "v", **absent}], "containers": [mount]})
    claim = {"persistentVolumeClaim": {"claimName": "nobody"}}
    await cluster.create("unclaimed", {"volumes": [{"name": "v", **claim}], "containers": [dict(mount)]})
    await told(cluster, "Warning FailedMount absent:", "hostPath type check failed: /no/such/directory")
    await told(cluster, "Warning FailedMount unclaimed:", 'persistentvolumeclaim "nobody" not found')
    for name in ("absent", "unclaimed"):
        assert (await cluster.pod(name)).status.phase == "Pending"


@pytest.mark.usefixtures("neighbour")
async def test_a_memory_volume_that_fills(cluster: Cluster) -> None:
    spec = {
        "volumes": [{"name": "v", "emptyDir": {"medium": "Memory", "sizeLimit": "2Mi"}}],
        "containers": [
            {
                "command": sh("dd if=/dev/zero of=/v/fill bs=1024k count=8; exec sleep 1000"),
                "volumeMounts": [{"name": "v", "mountPath": "/v"}],
            }
        ],
    }
    await cluster.create("full", spec)

    async def said() -> bool:
        return "No space left on device" in cluster.log("full")

    await cluster.until(said, "the kernel holds it to its size")
    await cluster.ready("full")
