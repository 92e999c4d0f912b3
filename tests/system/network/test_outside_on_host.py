"""What is reached from outside: load balancers, external addresses, node ports on every address, health checks."""

from __future__ import annotations

import asyncio
import json
import urllib.error
import urllib.request

import pytest
from network_host import (
    LAN,
    LAN_ADDRESS,
    NODE,
    NODE_ADDRESS,
    PODS,
    PREFIX,
    Cluster,
    Server,
    ask,
    eventually,
    running,
    sh,
    within,
)

from pilothouse.network.config import NetworkConfig
from pilothouse.network.network import Network
from pilothouse.network.ports import PORTS_IN_USE

pytestmark = pytest.mark.system

A = PREFIX + "a"
WEB = [{"name": "web", "port": 80, "protocol": "TCP", "nodePort": 30088}]
WEB_END = [{"name": "web", "port": 8080, "protocol": "TCP"}]


def balanced(cluster: Cluster, pods: str = "b", node: str = "n1", **spec: object) -> None:
    cluster.endpoints("web", [PODS[name] for name in pods], WEB_END, node=node)
    cluster.service("web", "10.97.0.20", WEB, balanced=NODE_ADDRESS, type="LoadBalancer", **spec)


async def test_a_load_balancer_answers_at_the_nodes_address(network: Network, cluster: Cluster) -> None:
    balanced(cluster)
    await eventually(lambda: ask(LAN, NODE_ADDRESS, 80)[0], "b")
    assert (await asyncio.to_thread(ask, A, NODE_ADDRESS, 80))[0] == "b"
    assert (await asyncio.to_thread(ask, NODE, NODE_ADDRESS, 80))[0] == "b"
    # A pod that reaches itself by way of it.
    assert (await asyncio.to_thread(ask, PREFIX + "b", NODE_ADDRESS, 80))[0] == "b"
    balanced(cluster, externalTrafficPolicy="Local")
    await eventually(lambda: ask(LAN, NODE_ADDRESS, 80), ("b", LAN_ADDRESS))
    balanced(cluster, "")
    await eventually(lambda: ask(LAN, NODE_ADDRESS, 80), ConnectionRefusedError)


async def test_source_ranges_keep_others_out(network: Network, cluster: Cluster) -> None:
    balanced(cluster, loadBalancerSourceRanges=["192.168.78.0/24"])
    await eventually(lambda: ask(LAN, NODE_ADDRESS, 80, timeout=0.3), TimeoutError)
    balanced(cluster, loadBalancerSourceRanges=["192.168.78.0/24", f"{LAN_ADDRESS}/32"])
    await eventually(lambda: ask(LAN, NODE_ADDRESS, 80)[0], "b")


async def test_a_port_of_the_host_stays_its_own_and_is_named(config: NetworkConfig, cluster: Cluster) -> None:
    server = Server(NODE, "host", 80)
    async with running(config, cluster):
        balanced(cluster)
        await eventually(lambda: ask(A, "10.97.0.20", 80)[0], "b")
        assert (await asyncio.to_thread(ask, LAN, NODE_ADDRESS, 80))[0] == "host"

        def told() -> dict[str, str]:
            annotations = cluster.objects["nodes"]["/n1"]["metadata"].get("annotations", {})
            found: dict[str, str] = json.loads(annotations.get(PORTS_IN_USE) or "{}")
            return found

        await eventually(lambda: list(told()), ["tcp/80"], 10)
        assert "(pid " in told()["tcp/80"]
        server.close()
        await eventually(lambda: ask(LAN, NODE_ADDRESS, 80)[0], "b", 15)
        await eventually(told, {}, 15)
    # Who comes later gets nothing, not even after a restart.
    late = Server(NODE, "late", 80)
    async with running(config, cluster):
        assert (await asyncio.to_thread(ask, LAN, NODE_ADDRESS, 80))[0] == "b"
    late.close()


async def test_an_external_address_of_somebody_else_is_not_taken(network: Network, cluster: Cluster) -> None:
    cluster.endpoints("web", [PODS["b"]], WEB_END)
    cluster.service("web", "10.97.0.20", WEB[:1], externalIPs=[LAN_ADDRESS, NODE_ADDRESS])
    await eventually(lambda: ask(LAN, NODE_ADDRESS, 80)[0], "b")
    assert (await asyncio.to_thread(ask, A, LAN_ADDRESS, 80))[0] == "lan"


async def test_node_ports_follow_the_hosts_addresses(network: Network, cluster: Cluster) -> None:
    cluster.endpoints("web", [PODS["b"]], WEB_END)
    cluster.service("web", "10.97.0.20", WEB, type="NodePort")
    await eventually(lambda: ask(LAN, NODE_ADDRESS, 30088)[0], "b")
    sh(f"ip -n {NODE} addr add 192.168.77.7/24 dev lan0")
    await eventually(lambda: ask(LAN, "192.168.77.7", 30088)[0], "b")
    await eventually(lambda: ask(NODE, "127.0.0.1", 30088)[0], "b")
    sh(f"ip -n {NODE} addr del 192.168.77.7/24 dev lan0")
    await eventually(lambda: "192.168.77.7" in sh(f"ip netns exec {NODE} nft list map ip pilothouse services"), False)


async def test_health_checks_tell_of_endpoints_here(network: Network, cluster: Cluster) -> None:
    def health() -> tuple[int, int]:
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))

        def look() -> tuple[int, int]:
            try:
                with opener.open(f"http://{NODE_ADDRESS}:30099/healthz", timeout=2) as reply:
                    return reply.status, json.load(reply)["localEndpoints"]
            except urllib.error.HTTPError as error:
                return error.code, json.load(error)["localEndpoints"]

        return within(LAN, look)

    balanced(cluster, externalTrafficPolicy="Local", healthCheckNodePort=30099)
    await eventually(health, (200, 1))
    balanced(cluster, node="n2", externalTrafficPolicy="Local", healthCheckNodePort=30099)
    await eventually(health, (503, 0))
    balanced(cluster)
    await eventually(lambda: ask(LAN, NODE_ADDRESS, 30099), ConnectionRefusedError)
