"""Cluster DNS at its address: fed by the network's informers, asked from pods, subject to their policies."""

from __future__ import annotations

import asyncio
import contextlib
import subprocess
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import dnslib
import pytest
from network_host import NODE, PODS, PREFIX, Cluster, eventually, within

from pilothouse.dns.feed import ZoneFeed
from pilothouse.network.config import NetworkConfig
from pilothouse.network.network import Network, service_keys

pytestmark = pytest.mark.system

A = PREFIX + "a"


def resolve(namespace: str, name: str, kind: str = "A") -> list[str]:
    query = dnslib.DNSRecord.question(name, kind)
    reply = within(namespace, lambda: query.send("10.97.0.10", 53, timeout=0.5))
    return sorted(str(rr.rdata) for rr in dnslib.DNSRecord.parse(reply).rr)


def start(command: list[str]) -> subprocess.Popen[bytes]:
    return subprocess.Popen(["ip", "netns", "exec", NODE, *command])


@pytest.fixture
async def dns(network: Network, config: NetworkConfig, tmp_path: Path) -> AsyncIterator[subprocess.Popen[bytes]]:
    command = [sys.executable, "-m", "pilothouse.launch.dns", "--data-dir", str(tmp_path), "--address", "10.97.0.10"]
    process = start(command)
    ranges = [config.first.pod_range, config.first.service_range]
    feed = ZoneFeed(
        tmp_path / "run" / "dns.sock", "cluster.local", ranges, network.services, network.slices, service_keys
    )
    task = asyncio.create_task(feed.run())
    yield process
    task.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await task
    process.terminate()
    process.wait()


async def test_names_follow_the_services(dns: subprocess.Popen[bytes], cluster: Cluster) -> None:
    cluster.service("web", "10.97.0.20", [{"name": "http", "port": 80, "protocol": "TCP"}])
    await eventually(lambda: resolve(A, "web.shop.svc.cluster.local"), ["10.97.0.20"])
    await eventually(lambda: resolve(NODE, "20.0.97.10.in-addr.arpa", "PTR"), ["web.shop.svc.cluster.local."])
    cluster.service("db", "None", [{"name": "sql", "port": 5432, "protocol": "TCP"}])
    cluster.endpoints("db", [PODS["a"], PODS["b"]], [{"name": "sql", "port": 5432, "protocol": "TCP"}])
    await eventually(lambda: resolve(A, "db.shop.svc.cluster.local"), [PODS["a"], PODS["b"]])
    cluster.endpoints("db", [PODS["b"]], [{"name": "sql", "port": 5432, "protocol": "TCP"}])
    await eventually(lambda: resolve(A, "db.shop.svc.cluster.local"), [PODS["b"]])
    cluster.delete("services", "shop/web")
    await eventually(lambda: resolve(A, "web.shop.svc.cluster.local"), [])


async def test_the_feed_comes_again_to_a_new_process(
    dns: subprocess.Popen[bytes], cluster: Cluster, tmp_path: Path
) -> None:
    cluster.service("web", "10.97.0.20", [{"port": 80, "protocol": "TCP"}])
    await eventually(lambda: resolve(A, "web.shop.svc.cluster.local"), ["10.97.0.20"])
    dns.kill()
    dns.wait()
    cluster.service("web", "10.97.0.21", [{"port": 80, "protocol": "TCP"}])
    second = start(dns.args[4:])  # type: ignore[index]
    try:
        await eventually(lambda: resolve(A, "web.shop.svc.cluster.local"), ["10.97.0.21"])
    finally:
        second.terminate()
        second.wait()


async def test_egress_policies_speak_of_dns_as_of_a_pod(dns: subprocess.Popen[bytes], cluster: Cluster) -> None:
    cluster.service("web", "10.97.0.20", [{"port": 80, "protocol": "TCP"}])
    cluster.pod("a", PODS["a"], {"app": "a"})
    await eventually(lambda: resolve(A, "web.shop.svc.cluster.local"), ["10.97.0.20"])
    cluster.put(
        "networkpolicies",
        {"metadata": {"name": "closed", "namespace": "shop"}, "spec": {"podSelector": {}, "policyTypes": ["Egress"]}},
    )
    await eventually(lambda: resolve(A, "web.shop.svc.cluster.local"), TimeoutError)
    assert await asyncio.to_thread(resolve, NODE, "web.shop.svc.cluster.local") == ["10.97.0.20"]
    cluster.put("namespaces", {"metadata": {"name": "kube-system", "labels": {"is": "system"}}})
    peer = {
        "namespaceSelector": {"matchLabels": {"is": "system"}},
        "podSelector": {"matchLabels": {"k8s-app": "kube-dns"}},
    }
    cluster.put(
        "networkpolicies",
        {
            "metadata": {"name": "dns", "namespace": "shop"},
            "spec": {
                "podSelector": {},
                "policyTypes": ["Egress"],
                "egress": [{"to": [peer], "ports": [{"port": 53, "protocol": "UDP"}]}],
            },
        },
    )
    await eventually(lambda: resolve(A, "web.shop.svc.cluster.local"), ["10.97.0.20"])
