"""Nodes on different segments reach each other's pods through a tunnel."""

from __future__ import annotations

import asyncio
import copy
import dataclasses
import subprocess
from collections.abc import Iterator
from ipaddress import IPv4Address
from pathlib import Path

import pytest
from network_host import (
    LAN,
    NODE,
    NODE_ADDRESS,
    PODS,
    PREFIX,
    Cluster,
    Server,
    ask,
    eventually,
    in_thread,
    running,
    sh,
)

from pilothouse.network.config import NetworkConfig

pytestmark = pytest.mark.system

BEYOND, BEYOND_ADDRESS, POD = f"{PREFIX}beyond", "203.0.113.2", "10.232.9.5"


@pytest.fixture
def beyond(host: None) -> Iterator[None]:
    """A machine behind the neighbour, which routes; it has a pod."""
    sh(f"ip netns add {BEYOND} && ip -n {BEYOND} link set lo up")
    try:
        sh(f"ip -n {LAN} link add segment2 type veth peer name eth0 netns {BEYOND}")
        sh(f"ip -n {LAN} addr add 203.0.113.1/24 dev segment2 && ip -n {LAN} link set segment2 up")
        sh(f"ip netns exec {LAN} sysctl -qw net.ipv4.ip_forward=1")
        sh(f"ip -n {BEYOND} addr add {BEYOND_ADDRESS}/24 dev eth0 && ip -n {BEYOND} link set eth0 up")
        sh(f"ip -n {BEYOND} route add default via 203.0.113.1 && ip -n {BEYOND} addr add {POD}/32 dev lo")
        yield
    finally:
        # A namespace takes its devices along some time later.
        subprocess.run(["ip", "-n", LAN, "link", "del", "segment2"], check=False)
        subprocess.run(["ip", "netns", "del", BEYOND], check=False)


async def test_pods_beyond_a_router_are_reached(
    config: NetworkConfig, cluster: Cluster, servers: None, beyond: None, tmp_path: Path
) -> None:
    far = Cluster()
    far_config = dataclasses.replace(
        config,
        node_name="n9",
        versions=(dataclasses.replace(config.first, node_address=IPv4Address(BEYOND_ADDRESS)),),
        state_dir=tmp_path / "far",
        cni_conf_dir=tmp_path / "far-cni",
    )
    for name, address, number in (("n1", NODE_ADDRESS, 0), ("n9", BEYOND_ADDRESS, 9)):
        node = {
            "metadata": {"name": name},
            "spec": {"podCIDR": f"10.232.{number}.0/24"},
            "status": {"addresses": [{"type": "InternalIP", "address": address}]},
        }
        cluster.put("nodes", node)
        far.put("nodes", copy.deepcopy(node))

    async def second(stop: asyncio.Event) -> None:
        async with running(far_config, far):
            await stop.wait()

    server = Server(BEYOND, "far", 8080, address=POD)
    try:
        with in_thread(BEYOND, second):
            async with running(config, cluster):
                await eventually(lambda: ask(PREFIX + "a", POD, 8080), ("far", PODS["a"]), 15)
                assert (await asyncio.to_thread(ask, NODE, POD, 8080))[0] == "far"
                assert (await asyncio.to_thread(ask, BEYOND, PODS["b"], 8080))[0] == "b"
                assert '"mtu": 1450' in (config.cni_conf_dir / "10-pilothouse.conflist").read_text()
                cluster.delete("nodes", "/n9")
                await eventually(lambda: "pilothouse1" in sh(f"ip -n {NODE} -o link"), False)
    finally:
        server.close()
