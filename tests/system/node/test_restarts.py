"""What outlives the engine and containerd: healthy containers go on, what ended meanwhile is noticed."""

from __future__ import annotations

import contextlib
import os
import signal

import pytest
from node_cluster import Cluster

from pilothouse.node.settings import Settings

pytestmark = pytest.mark.system


def sh(script: str) -> list[str]:
    return ["sh", "-c", script]


async def test_a_new_node_process_adopts_what_runs(cluster: Cluster) -> None:
    await cluster.create("stays", {"containers": [{"command": sh("exec sleep 1000")}]})
    before = await cluster.ready("stays")
    await cluster.stop_node()
    cluster.start_node()

    async def adopted() -> bool:
        assert cluster.node is not None
        state = cluster.node.pods.get("default", "stays")
        return state is not None and bool(state.ip) and state.any_running

    await cluster.until(adopted, "it is adopted")
    after = await cluster.pod("stays")
    assert after.status.container_statuses[0].container_id == before.status.container_statuses[0].container_id
    assert after.status.container_statuses[0].restart_count == 0
    assert after.status.pod_ip == before.status.pod_ip
    ready = {c.type: c.last_transition_time for c in after.status.conditions}["Ready"]
    assert ready == {c.type: c.last_transition_time for c in before.status.conditions}["Ready"]


async def test_an_exit_while_the_node_was_away(cluster: Cluster) -> None:
    await cluster.create("dies", {"containers": [{"command": sh("exec sleep 1000")}]})
    await cluster.ready("dies")
    assert cluster.node is not None
    state = cluster.node.pods.get("default", "dies")
    assert state is not None
    container = state.containers["c0"].id
    await cluster.stop_node()
    pid = dict(cluster.runtime.tasks())[container]
    os.kill(pid, signal.SIGKILL)
    cluster.start_node()

    async def restarted() -> bool:
        status = await cluster.container("dies")
        return status.restart_count == 1 and status.state.running is not None

    await cluster.until(restarted, "it runs again")
    last = (await cluster.container("dies")).last_state.terminated
    assert (last.exit_code, last.reason) == (137, "Error")


async def test_pods_deleted_while_the_node_was_away(cluster: Cluster) -> None:
    await cluster.create("gone", {"containers": [{"command": sh("exec sleep 1000")}]})
    await cluster.ready("gone")
    await cluster.stop_node()
    from pilothouse.kinds.core.pod import Pod

    await cluster.client.delete(Pod, "gone", "default", grace_period_seconds=0)
    cluster.start_node()
    await cluster.until(cluster.empty, "what nobody owns is removed")
    assert not any((cluster.runtime.root / "pods").iterdir())


async def test_containerd_is_killed(cluster: Cluster) -> None:
    await cluster.create("stays", {"containers": [{"command": sh("exec sleep 1000")}]})
    await cluster.create("dies", {"containers": [{"command": sh("sleep 2; exit 5")}], "restartPolicy": "Never"})
    before = await cluster.ready("stays")
    await cluster.ready("dies")
    cluster.runtime.kill()
    cluster.runtime.start()
    pod = await cluster.phase("dies", "Failed")
    assert pod.status.container_statuses[0].state.terminated.exit_code == 5
    after = await cluster.pod("stays")
    assert after.status.container_statuses[0].container_id == before.status.container_statuses[0].container_id
    await cluster.create("new", {"containers": [{"command": sh("exec sleep 1000")}]})
    await cluster.ready("new")


async def test_a_power_cut(cluster: Cluster) -> None:
    spec = {
        "volumes": [{"name": "v", "emptyDir": {}}],
        "containers": [
            {
                "command": sh("echo x >>/v/log; wc -l </v/log; exec sleep 1000"),
                "volumeMounts": [{"name": "v", "mountPath": "/v"}],
            }
        ],
    }
    await cluster.create("back", spec)
    await cluster.ready("back")
    await cluster.stop_node()
    pids = [pid for _, pid in cluster.runtime.tasks()]
    cluster.runtime.kill()
    cluster.runtime.end_shims()
    for pid in pids:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
    cluster.runtime.start()
    cluster.start_node()

    async def back() -> bool:
        status = await cluster.container("back")
        return status.restart_count == 1 and status.state.running is not None and "2\n" in cluster.log("back")

    await cluster.until(back, "it runs again with its data")
    await cluster.delete("back")
    leases = list((cluster.runtime.root / "cni" / "ipam" / "pilothouse").glob("10.*"))
    assert leases == [], "addresses are given back"


async def test_the_machine_shuts_down(cluster: Cluster) -> None:
    """Pods end within the grace and say why; no other is taken, and the next node lets them be."""
    settings = Settings(shutdown_grace_period=20.0)
    await cluster.stop_node()
    node = cluster.start_node(settings=settings)
    script = "trap 'sleep 0.2; exit 0' TERM; while sleep 0.1; do :; done"
    await cluster.create("p", {"terminationGracePeriodSeconds": 10, "containers": [{"command": ["sh", "-c", script]}]})
    await cluster.ready("p")
    await node.shut_down()
    pod = await cluster.phase("p", "Failed")
    assert pod.status.reason == "Terminated"
    assert pod.status.message == "Pod was terminated in response to imminent node shutdown."
    assert pod.status.container_statuses[0].state.terminated.exit_code == 0
    await cluster.create("late", {"containers": [{"command": ["sh", "-c", script]}]})
    assert (await cluster.phase("late", "Failed")).status.reason == "NodeShutdown"
    await cluster.stop_node()
    cluster.start_node()
    await cluster.create("after", {"containers": [{"command": ["sh", "-c", script]}]})
    await cluster.ready("after")
    assert (await cluster.pod("p")).status.reason == "Terminated"
