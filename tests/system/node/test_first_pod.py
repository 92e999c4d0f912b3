"""A pod's plain life: it runs, says so at once, and leaves nothing behind."""

from __future__ import annotations

import pytest
from node_cluster import Cluster

pytestmark = pytest.mark.system


async def test_a_pod_runs_and_is_gone(cluster: Cluster) -> None:
    await cluster.create("web", {"containers": [{"command": ["sh", "-c", "echo hello; exec sleep 1000"]}]})
    pod = await cluster.ready("web")
    assert pod.status.phase == "Running"
    assert pod.status.pod_ip.startswith("10.231.1.")
    assert "hello" in cluster.log("web")
    await cluster.delete("web")
    assert cluster.runtime.tasks() == []
