"""Services through real nftables: from pods, from the host, from outside."""

from __future__ import annotations

import asyncio
import threading
from collections import Counter
from functools import partial

import pytest
from network_host import (
    LAN,
    NODE,
    NODE_ADDRESS,
    PODS,
    PREFIX,
    Cluster,
    Connection,
    Server,
    ask,
    eventually,
    running,
    sh,
)

from pilothouse.network.config import NetworkConfig
from pilothouse.network.network import Network

pytestmark = pytest.mark.system

A, B, C = (PREFIX + name for name in PODS)
SERVICES = f"ip netns exec {NODE} nft list map ip pilothouse services"
RULES = f"ip netns exec {NODE} nft list table ip pilothouse | grep -v expires"
WEB = [{"name": "web", "port": 80, "protocol": "TCP"}]
WEB_END = [{"name": "web", "port": 8080, "protocol": "TCP"}]


async def serve(cluster: Cluster, pods: str = "b", **spec: object) -> None:
    cluster.endpoints("web", [PODS[name] for name in pods], WEB_END)
    cluster.service("web", "10.97.0.20", WEB, **spec)
    await eventually(lambda: ask(NODE, "10.97.0.20", 80)[0] in pods, True)


async def test_pods_and_the_host_reach_a_service(network: Network, cluster: Cluster) -> None:
    await serve(cluster)
    assert await asyncio.to_thread(ask, A, "10.97.0.20", 80) == ("b", PODS["a"])
    assert await asyncio.to_thread(ask, NODE, "10.97.0.20", 80) == ("b", NODE_ADDRESS)


async def test_an_endpoint_in_the_nodes_own_network(network: Network, cluster: Cluster) -> None:
    server = Server(NODE, "api", 7443, address=NODE_ADDRESS)
    cluster.endpoints("api", [NODE_ADDRESS], [{"name": "https", "port": 7443, "protocol": "TCP"}])
    cluster.service("api", "10.97.0.1", [{"name": "https", "port": 443, "protocol": "TCP"}])
    await eventually(lambda: ask(NODE, "10.97.0.1", 443), ("api", NODE_ADDRESS))
    assert await asyncio.to_thread(ask, A, "10.97.0.1", 443) == ("api", PODS["a"])
    server.close()


async def test_a_pod_reaches_itself_through_its_service(network: Network, cluster: Cluster) -> None:
    await serve(cluster)
    name, peer = await asyncio.to_thread(ask, B, "10.97.0.20", 80)
    assert name == "b"
    assert peer != PODS["b"]


async def test_flows_are_spread_evenly(network: Network, cluster: Cluster) -> None:
    await serve(cluster, "abc")
    found = await asyncio.to_thread(lambda: Counter(ask(NODE, "10.97.0.20", 80)[0] for _ in range(150)))
    assert set(found) == {"a", "b", "c"}
    assert min(found.values()) > 25


async def test_a_service_without_endpoints_refuses_at_once(network: Network, cluster: Cluster) -> None:
    await serve(cluster)
    cluster.endpoints("web", [], WEB_END)
    await eventually(lambda: ask(A, "10.97.0.20", 80), ConnectionRefusedError)
    await eventually(lambda: ask(NODE, "10.97.0.20", 80), ConnectionRefusedError)
    await eventually(lambda: ask(A, "10.97.0.99", 80), ConnectionRefusedError)


async def test_terminating_endpoints_serve_when_none_is_ready(network: Network, cluster: Cluster) -> None:
    await serve(cluster)
    cluster.endpoints("web", [PODS["c"]], WEB_END, {"ready": False, "serving": True, "terminating": True})
    await eventually(lambda: ask(A, "10.97.0.20", 80)[0], "c")


async def test_affinity_keeps_a_client_with_its_endpoint(network: Network, cluster: Cluster) -> None:
    await serve(cluster, "bc", sessionAffinity="ClientIP")
    first = (await asyncio.to_thread(ask, A, "10.97.0.20", 80))[0]
    found = await asyncio.to_thread(lambda: {ask(A, "10.97.0.20", 80)[0] for _ in range(60)})
    assert found == {first}
    # Another endpoint that comes does not move the client; its own going does.
    cluster.endpoints("web", [PODS[name] for name in "abc"], WEB_END)
    await eventually(lambda: "to_3_stay_10800" in sh(SERVICES), True)
    found = await asyncio.to_thread(lambda: {ask(A, "10.97.0.20", 80)[0] for _ in range(20)})
    assert found == {first}
    others = [name for name in "abc" if name != first]
    cluster.endpoints("web", [PODS[name] for name in others], WEB_END)
    await eventually(lambda: ask(A, "10.97.0.20", 80)[0] in others, True)
    second = (await asyncio.to_thread(ask, A, "10.97.0.20", 80))[0]
    found = await asyncio.to_thread(lambda: {ask(A, "10.97.0.20", 80)[0] for _ in range(20)})
    assert found == {second}


async def test_node_ports_answer_on_the_node_and_on_loopback(network: Network, cluster: Cluster) -> None:
    ports = [{"name": "web", "port": 80, "protocol": "TCP", "nodePort": 30080}]
    cluster.endpoints("web", [PODS["b"]], WEB_END)
    cluster.service("web", "10.97.0.20", ports, type="NodePort")
    await eventually(lambda: ask(LAN, NODE_ADDRESS, 30080)[0], "b")
    assert (await asyncio.to_thread(ask, NODE, "127.0.0.1", 30080))[0] == "b"
    assert (await asyncio.to_thread(ask, NODE, NODE_ADDRESS, 30080))[0] == "b"
    assert (await asyncio.to_thread(ask, A, NODE_ADDRESS, 30080))[0] == "b"
    cluster.service("web", "10.97.0.20", ports, type="NodePort", externalTrafficPolicy="Local")
    await eventually(lambda: ask(LAN, NODE_ADDRESS, 30080), ("b", "192.168.77.2"))
    # An endpoint elsewhere serves clients in the cluster only.
    cluster.endpoints("web", [PODS["b"]], WEB_END, node="n2")
    await eventually(lambda: ask(LAN, NODE_ADDRESS, 30080), ConnectionRefusedError)
    await eventually(lambda: ask(A, NODE_ADDRESS, 30080), ("b", PODS["a"]))
    await eventually(lambda: ask(NODE, NODE_ADDRESS, 30080)[0], "b")


async def test_external_addresses_are_translated_or_refused(network: Network, cluster: Cluster) -> None:
    await serve(cluster, type="LoadBalancer", balanced="203.0.113.9")
    await eventually(lambda: ask(A, "203.0.113.9", 80)[0], "b")
    cluster.endpoints("web", [], WEB_END)
    await eventually(lambda: ask(A, "203.0.113.9", 80), ConnectionRefusedError)


async def test_udp_flows_follow_the_endpoints(network: Network, cluster: Cluster) -> None:
    port = [{"name": "q", "port": 53, "protocol": "UDP"}]
    end = [{"name": "q", "port": 5353, "protocol": "UDP"}]
    cluster.endpoints("q", [PODS["b"]], end)
    cluster.service("q", "10.97.0.30", port)
    await eventually(lambda: ask(A, "10.97.0.30", 53, "udp", 0.2)[0], "b")
    flow = await asyncio.to_thread(Connection, A, "10.97.0.30", 53, "udp", 0.2)
    assert (await asyncio.to_thread(flow.ask))[0] == "b"
    cluster.endpoints("q", [PODS["c"]], end)
    await eventually(lambda: flow.ask()[0], "c")
    flow.close()


async def test_host_ports_lead_to_the_pod(network: Network, cluster: Cluster) -> None:
    cluster.pod("p", PODS["b"], {}, [{"containerPort": 8080, "hostPort": 8088, "protocol": "TCP"}])
    await eventually(lambda: ask(LAN, NODE_ADDRESS, 8088), ("b", "192.168.77.2"))
    cluster.delete("pods", "shop/p")
    await eventually(lambda: ask(LAN, NODE_ADDRESS, 8088), ConnectionRefusedError)


async def test_pods_reach_outside_as_the_node(network: Network, cluster: Cluster) -> None:
    assert await asyncio.to_thread(ask, A, "192.168.77.2", 80) == ("lan", NODE_ADDRESS)


async def test_a_restart_keeps_rules_and_flows(config: NetworkConfig, cluster: Cluster, servers: None) -> None:
    async with running(config, cluster):
        await serve(cluster)
        flow = await asyncio.to_thread(Connection, A, "10.97.0.20", 80)
        assert (await asyncio.to_thread(flow.ask))[0] == "b"
    assert (await asyncio.to_thread(ask, A, "10.97.0.20", 80))[0] == "b"
    before = sh(RULES)
    async with running(config, cluster):
        assert (await asyncio.to_thread(flow.ask))[0] == "b"
        assert sh(RULES) == before
    flow.close()
    # What changed while nothing ran is made up for.
    cluster.delete("services", "shop/web")
    async with running(config, cluster):
        await eventually(lambda: ask(A, "10.97.0.20", 80), ConnectionRefusedError)


async def test_other_nodes_pods_are_routed(network: Network, cluster: Cluster) -> None:
    node = {
        "metadata": {"name": "n2"},
        "spec": {"podCIDR": "10.232.1.0/24"},
        "status": {"addresses": [{"type": "InternalIP", "address": "192.168.77.2"}]},
    }
    cluster.put("nodes", node)
    await eventually(lambda: "10.232.1.0/24 via 192.168.77.2" in sh(f"ip -n {NODE} route"), True)
    # The neighbour stands in for the other node, with a pod of its own.
    sh(f"ip -n {LAN} addr add 10.232.1.5/32 dev lo && ip -n {LAN} route add 10.232.0.0/24 via {NODE_ADDRESS}")
    server = Server(LAN, "far", 8080, address="10.232.1.5")
    assert await asyncio.to_thread(ask, A, "10.232.1.5", 8080) == ("far", PODS["a"])
    server.close()
    sh(f"ip -n {LAN} addr del 10.232.1.5/32 dev lo && ip -n {LAN} route del 10.232.0.0/24")
    cluster.delete("nodes", "/n2")
    await eventually(lambda: "10.232.1.0/24" in sh(f"ip -n {NODE} route"), False)


async def test_a_table_deleted_by_others_comes_back(network: Network, cluster: Cluster) -> None:
    await serve(cluster)
    sh(f"ip netns exec {NODE} nft flush ruleset")
    await eventually(lambda: ask(A, "10.97.0.20", 80)[0], "b")


def serves(count: int) -> bool:
    return f"goto to_{count}" in sh(SERVICES)


async def test_no_request_fails_while_endpoints_change(network: Network, cluster: Cluster) -> None:
    await serve(cluster, "abc")
    stop = threading.Event()

    def load() -> tuple[int, list[str]]:
        done, failed = 0, []
        while not stop.is_set():
            try:
                ask(NODE, "10.97.0.20", 80)
                done += 1
            except OSError as error:
                failed.append(repr(error))
        return done, failed

    running_load = [asyncio.create_task(asyncio.to_thread(load)) for _ in range(3)]
    for turn in range(150):
        chosen = ("abc", "b", "bc", "ab", "c", "ac")[turn % 6]
        cluster.endpoints("web", [PODS[name] for name in chosen], WEB_END)
        await eventually(partial(serves, len(chosen)), True)
    stop.set()
    results = await asyncio.gather(*running_load)
    assert [failed for _, failed in results] == [[], [], []]
    assert sum(done for done, _ in results) > 100


async def test_a_connection_stays_with_a_draining_endpoint(network: Network, cluster: Cluster) -> None:
    await serve(cluster, "b")
    flow = await asyncio.to_thread(Connection, A, "10.97.0.20", 80)
    assert (await asyncio.to_thread(flow.ask))[0] == "b"
    tree = {
        "metadata": {"name": "web-2", "namespace": "shop", "labels": {"kubernetes.io/service-name": "web"}},
        "addressType": "IPv4",
        "ports": WEB_END,
        "endpoints": [{"addresses": [PODS["c"]], "conditions": {"ready": True}, "nodeName": "n1"}],
    }
    cluster.put("endpointslices", tree)
    cluster.endpoints("web", [PODS["b"]], WEB_END, {"ready": False, "serving": True, "terminating": True})
    await eventually(lambda: {ask(A, "10.97.0.20", 80)[0] for _ in range(8)} == {"c"}, True)
    assert (await asyncio.to_thread(flow.ask))[0] == "b"
    # Even when its endpoint is gone from the slices, it may finish.
    cluster.endpoints("web", [], WEB_END)
    await eventually(lambda: "to_1" in sh(SERVICES), True)
    assert (await asyncio.to_thread(flow.ask))[0] == "b"
    flow.close()
    cluster.delete("endpointslices", "shop/web-2")


async def test_affinity_ends_after_its_time(network: Network, cluster: Cluster) -> None:
    stay = {"clientIP": {"timeoutSeconds": 1}}
    await serve(cluster, "bc", sessionAffinity="ClientIP", sessionAffinityConfig=stay)
    await asyncio.to_thread(ask, A, "10.97.0.20", 80)
    entries = f"ip netns exec {NODE} nft list map ip pilothouse affinity"
    await eventually(lambda: "expires" in sh(entries), False, 10)


async def test_an_internal_policy_of_local_keeps_to_this_node(network: Network, cluster: Cluster) -> None:
    await serve(cluster, "b", internalTrafficPolicy="Local")
    cluster.endpoints("web", [PODS["b"]], WEB_END, node="n2")
    await eventually(lambda: ask(A, "10.97.0.20", 80), ConnectionRefusedError)


async def test_hints_keep_a_node_to_its_zone(network: Network, cluster: Cluster) -> None:
    node = cluster.objects["nodes"]["/n1"]
    node["metadata"]["labels"] = {"topology.kubernetes.io/zone": "west"}
    cluster.put("nodes", node)
    cluster.endpoints("web", [PODS["b"], PODS["c"]], WEB_END)
    slice_ = cluster.objects["endpointslices"]["shop/web-1"]
    for endpoint, zone in zip(slice_["endpoints"], ("east", "west")):
        endpoint["hints"] = {"forZones": [{"name": zone}]}
    cluster.put("endpointslices", slice_)
    cluster.service("web", "10.97.0.20", WEB)

    def reached() -> set[str]:
        return {ask(A, "10.97.0.20", 80)[0] for _ in range(20)}

    await eventually(reached, {"c"})
    # A label that changes moves the traffic; a zone without endpoints has all of them.
    node["metadata"]["labels"] = {"topology.kubernetes.io/zone": "east"}
    cluster.put("nodes", node)
    await eventually(reached, {"b"})
    node["metadata"]["labels"] = {}
    cluster.put("nodes", node)
    await eventually(reached, {"b", "c"})
