"""What a pod's specification says is what the kernel shows inside: users, namespaces, capabilities, parameters."""

from __future__ import annotations

import os
from pathlib import Path

import grpc.aio
import pytest
from node_cluster import Cluster

from pilothouse.kinds.core.pod import Pod
from pilothouse.machinery.objects import Obj

pytestmark = pytest.mark.system

SHOW = "busybox cat /proc/self/status; busybox id; busybox touch /x; echo the end; exec sleep 1000"


def sh(script: str) -> list[str]:
    return ["sh", "-c", script]


async def said(cluster: Cluster, name: str, container: str = "c0") -> str:
    """The container's log up to `the end`."""

    async def check() -> str:
        text = cluster.log(name, container)
        return text if "the end" in text else ""

    return str(await cluster.until(check, f"{name} has said it all"))


async def test_security_contexts(cluster: Cluster) -> None:
    inner: Obj = {
        "readOnlyRootFilesystem": True,
        "allowPrivilegeEscalation": False,
        "capabilities": {"drop": ["ALL"], "add": ["NET_BIND_SERVICE"]},
    }
    spec = {
        "securityContext": {"runAsUser": 1234, "runAsGroup": 2345, "fsGroup": 3456, "supplementalGroups": [4567]},
        "containers": [{"command": sh(SHOW), "securityContext": inner}],
    }
    await cluster.create("held", spec)
    text = await said(cluster, "held")
    assert "uid=1234 gid=2345" in text
    assert {"3456", "4567"} <= set(text.split("groups=")[1].split()[0].replace("(", ",").split(","))
    assert "Read-only file system" in text
    fields = {line.split(":")[0]: line.split()[-1] for line in text.splitlines() if ":" in line}
    assert (fields["NoNewPrivs"], fields["Seccomp"]) == ("1", "2")
    assert int(fields["CapBnd"], 16) == 1 << 10


async def test_namespaces_that_are_shared(cluster: Cluster) -> None:
    looking = sh("sleep 1; for p in /proc/[0-9]*; do busybox cat $p/cmdline; echo; done; echo the end; exec sleep 1000")
    spec = {
        "shareProcessNamespace": True,
        "securityContext": {"sysctls": [{"name": "net.ipv4.ip_unprivileged_port_start", "value": "80"}]},
        "containers": [
            {"name": "c0", "command": looking},
            {"name": "c1", "command": sh("busybox cat /proc/sys/net/ipv4/ip_unprivileged_port_start; exec sleep 1111")},
        ],
    }
    await cluster.create("shared", spec)
    text = await said(cluster, "shared")
    assert "/pause" in text
    assert "sleep 1111" in text.replace("\0", " ")
    assert cluster.log("shared", "c1") == "80\n"

    host = sh("for n in pid ipc net; do busybox readlink /proc/self/ns/$n; done; echo the end; exec sleep 1000")
    namespaces = {"hostPID": True, "hostIPC": True, "hostNetwork": True}
    await cluster.create("host", {**namespaces, "containers": [{"command": host}]})
    ours = [os.readlink(f"/proc/self/ns/{name}") for name in ("pid", "ipc", "net")]
    assert (await said(cluster, "host")).splitlines()[:3] == ours


async def test_readiness_gates(cluster: Cluster) -> None:
    gate = {"readinessGates": [{"conditionType": "example.com/lit"}]}
    await cluster.create("gated", {**gate, "containers": [{"command": sh("exec sleep 1000")}]})

    async def held() -> bool:
        conditions = {c.type: c for c in (await cluster.pod("gated")).status.conditions}
        ready = conditions.get("Ready")
        return ready is not None and ready.reason == "ReadinessGatesNotReady"

    await cluster.until(held, "it waits for its gate")
    status = {"conditions": [{"type": "example.com/lit", "status": "True"}]}
    await cluster.client.patch(Pod, "gated", "default", {"status": status}, type="strategic", subresource="status")
    await cluster.ready("gated")


async def test_a_probe_by_grpc(cluster: Cluster) -> None:
    """The server is this test's; the pod is in the host's network."""
    serving = b"\x08\x02"

    async def check(_request: bytes, _context: object) -> bytes:
        return serving

    server = grpc.aio.server()
    handlers = {"Check": grpc.unary_unary_rpc_method_handler(check)}
    server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler("grpc.health.v1.Health", handlers),))
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    probe = {"grpc": {"port": port}, "periodSeconds": 1, "timeoutSeconds": 5}
    await cluster.create(
        "rpc", {"hostNetwork": True, "containers": [{"command": sh("exec sleep 1000"), "readinessProbe": probe}]}
    )

    async def told() -> bool:
        return "Warning Unhealthy rpc: Readiness probe failed" in await cluster.events()

    try:
        await cluster.until(told, "a server that does not serve fails the probe")
        serving = b"\x08\x01"
        await cluster.ready("rpc")
    finally:
        await server.stop(None)


async def test_service_classes_share_the_cpu(cluster: Cluster) -> None:
    """A class gets what its pods ask for together, and best effort the least there is."""
    asking = {"resources": {"requests": {"cpu": "500m"}}}
    await cluster.create("asks", {"containers": [{"command": sh("exec sleep 1000"), **asking}]})
    await cluster.create("takes", {"containers": [{"command": sh("exec sleep 1000")}]})
    await cluster.ready("asks")
    await cluster.ready("takes")
    root = cluster.runtime.config.cgroup_root.lstrip("/")

    def share(name: str) -> int:
        for pattern in (f"*/{root}/{name}/cpu.shares", f"{root}/{name}/cpu.weight"):
            for found in Path("/sys/fs/cgroup").glob(pattern):
                return int(found.read_text())
        raise AssertionError(f"no group {name}")

    least = share("besteffort")
    assert least <= 2
    assert share("burstable") > 10 * least
    await cluster.delete("asks")
    await cluster.create("last", {"containers": [{"command": sh("exec sleep 1000")}]})
    await cluster.ready("last")
    assert share("burstable") <= 2
