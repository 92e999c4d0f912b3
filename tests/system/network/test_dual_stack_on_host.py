"""IPv6 beside IPv4 through real nftables and routes: services, policies, what leaves, node routes, the plugin."""

from __future__ import annotations

import asyncio
import subprocess
from collections.abc import Iterator
from dataclasses import replace
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network
from pathlib import Path
from typing import Any

import pytest
from network_host import (
    FAR_NODE,
    FAR_NODE_ADDRESS,
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
    in_thread,
    running,
    sh,
)
from test_cni_on_host import PLUGINS, plugin
from test_tunnels_on_host import BEYOND, BEYOND_ADDRESS, beyond

from pilothouse.linux import sysctl
from pilothouse.linux.host import has_ipv6
from pilothouse.linux.netlink import ROUTE_PROTOCOL, RouteSocket
from pilothouse.network.config import NetworkConfig, Ranges
from pilothouse.network.teardown import tear_down

pytestmark = [
    pytest.mark.system,
    pytest.mark.skipif(not Path("/proc/sys/net/ipv6").exists(), reason="this kernel has no IPv6"),
]

__all__ = ["beyond"]

A, B, C = (PREFIX + name for name in PODS)
NODE6, LAN6, FAR6 = "fd00:77::1", "fd00:77::2", "fd00:77::3"
PODS6 = {"a": "fd00:10:232::11", "b": "fd00:10:232::12", "c": "fd00:10:232::13"}
WEB = {"name": "web", "port": 80, "protocol": "TCP"}
ENDS = [{"name": "web", "port": 8080, "protocol": "TCP"}]
BOTH = ["10.97.0.20", "fd00:10:97::14"]


@pytest.fixture(scope="module")
def addresses(host: None) -> Iterator[None]:
    """IPv6 on the node, its neighbours and its pods, for this module alone."""
    added = [(NODE, "lan0", NODE6), (LAN, "eth0", LAN6), (FAR_NODE, "eth0", FAR6)]
    for space, device, address in added:
        sh(f"ip -n {space} addr add {address}/64 dev {device} nodad")
    for space in (NODE, FAR_NODE):
        sh(f"ip -n {space} -6 route add default via {LAN6}")
    for name, address in PODS6.items():
        pod = PREFIX + name
        sh(f"ip -n {NODE} addr add fd00:10:232::1/128 dev v{name} nodad")
        sh(f"ip -n {NODE} -6 route add {address}/128 dev v{name}")
        sh(f"ip -n {pod} addr add {address}/128 dev eth0 nodad")
        sh(f"ip -n {pod} -6 route add fd00:10:232::1 dev eth0")
        sh(f"ip -n {pod} -6 route add default via fd00:10:232::1 dev eth0")
    servers = [Server(PREFIX + name, name, 8080, address="::") for name in PODS6]
    servers.append(Server(LAN, "lan", 80, address="::"))
    yield
    for server in servers:
        server.close()
    for space, device, address in added:
        sh(f"ip -n {space} addr del {address}/64 dev {device}")
    for name, address in PODS6.items():
        sh(f"ip -n {NODE} addr del fd00:10:232::1/128 dev v{name}")
        sh(f"ip -n {PREFIX}{name} addr del {address}/128 dev eth0")


@pytest.fixture
def config(config: NetworkConfig, addresses: None) -> Iterator[NetworkConfig]:
    ipv6 = Ranges(6, IPv6Address(NODE6), IPv6Network("fd00:10:232::/56"), IPv6Network("fd00:10:97::/112"))
    yield replace(config, versions=(config.first, ipv6))
    subprocess.run(["nft", "delete", "table", "ip6", "pilothouse"], check=False, capture_output=True)
    with RouteSocket() as routes:
        for route in routes.routes(6):
            if route.protocol == ROUTE_PROTOCOL:
                routes.delete_route(route)


@pytest.fixture
def cluster(cluster: Cluster) -> Cluster:
    node(cluster, "n1", "10.232.0.0/24", "fd00:10:232::/64", NODE_ADDRESS, NODE6)
    return cluster


def node(cluster: Cluster, name: str, four: str, six: str, *internal: str) -> None:
    cluster.put(
        "nodes",
        {
            "metadata": {"name": name},
            "spec": {"podCIDR": four, "podCIDRs": [four, six]},
            "status": {"addresses": [{"type": "InternalIP", "address": address} for address in internal]},
        },
    )


def serve(cluster: Cluster, ports: list[dict[str, Any]], pods: str = "b", **spec: Any) -> None:
    for family, known in (("IPv4", PODS), ("IPv6", PODS6)):
        labels = {"kubernetes.io/service-name": "web"}
        ends = [{"addresses": [known[name]], "conditions": {"ready": True}, "nodeName": "n1"} for name in pods]
        slice_ = {"addressType": family, "ports": ENDS, "endpoints": ends}
        meta = {"name": f"web-{family.lower()}", "namespace": "shop", "labels": labels}
        cluster.put("endpointslices", {"metadata": meta, **slice_})
    cluster.service("web", BOTH[0], ports, clusterIPs=BOTH, ipFamilies=["IPv4", "IPv6"], **spec)


def make_pods(cluster: Cluster) -> None:
    for name, address in PODS.items():
        tree = cluster.pod(name, address, {"app": name})
        tree["status"]["podIPs"] = [{"ip": address}, {"ip": PODS6[name]}]
        cluster.put("pods", tree)


async def test_a_service_of_both_families(servers: None, config: NetworkConfig, cluster: Cluster) -> None:
    async with running(config, cluster):
        serve(cluster, [{**WEB, "nodePort": 30080}], type="NodePort")
        await eventually(lambda: ask(A, BOTH[1], 80), ("b", PODS6["a"]))
        assert await asyncio.to_thread(ask, A, BOTH[0], 80) == ("b", PODS["a"])
        assert (await asyncio.to_thread(ask, NODE, BOTH[1], 80))[0] == "b"
        # A pod reaches itself through its service, and others from outside by the node port.
        assert (await asyncio.to_thread(ask, B, BOTH[1], 80))[0] == "b"
        assert await asyncio.to_thread(ask, LAN, NODE6, 30080) == ("b", "fd00:10:232::1")
        # An address of the range that no service has is refused at once.
        with pytest.raises(ConnectionRefusedError):
            await asyncio.to_thread(ask, A, "fd00:10:97::99", 80)
        assert await asyncio.to_thread(ask, A, LAN6, 80) == ("lan", NODE6)


async def test_a_policy_denies_ipv6_as_it_does_ipv4(servers: None, config: NetworkConfig, cluster: Cluster) -> None:
    async with running(config, cluster):
        make_pods(cluster)
        await eventually(lambda: ask(A, PODS6["b"], 8080), ("b", PODS6["a"]))
        established = await asyncio.to_thread(Connection, C, PODS6["b"], 8080)
        allow = [{"from": [{"podSelector": {"matchLabels": {"app": "a"}}}, {"ipBlock": {"cidr": f"{LAN6}/128"}}]}]
        spec = {"podSelector": {"matchLabels": {"app": "b"}}, "policyTypes": ["Ingress"], "ingress": allow}
        cluster.put("networkpolicies", {"metadata": {"name": "web", "namespace": "shop"}, "spec": spec})
        for known in (PODS, PODS6):
            await eventually(lambda known=known: ask(C, known["b"], 8080, timeout=0.3), TimeoutError)
            assert (await asyncio.to_thread(ask, A, known["b"], 8080))[0] == "b"
        # A flow from before the policy ends, too.
        await eventually(established.ask, TimeoutError)
        established.close()
        cluster.delete("networkpolicies", "shop/web")
        await eventually(lambda: ask(C, PODS6["b"], 8080)[0], "b")


async def test_routes_to_another_nodes_pods(config: NetworkConfig, cluster: Cluster) -> None:
    routes = f"ip -n {NODE} -6 route show"
    node(cluster, "n2", "10.232.1.0/24", "fd00:10:232:1::/64", FAR_NODE_ADDRESS, FAR6)
    async with running(config, cluster):
        await eventually(lambda: f"fd00:10:232:1::/64 via {FAR6}" in sh(routes), True)
        assert "unreachable fd00:10:232::/56" in sh(routes)
        assert "unreachable fd00:10:97::/112" in sh(routes)
        cluster.delete("nodes", "/n2")
        await eventually(lambda: "fd00:10:232:1::/64" in sh(routes), False)


async def test_the_tunnel_carries_ipv6_too(
    config: NetworkConfig, cluster: Cluster, beyond: None, tmp_path: Path
) -> None:
    """To a node on another segment, which has no IPv6 address of its own."""
    far, pod = Cluster(), "fd00:10:232:9::5"
    four, six = config.versions
    far_config = replace(
        config,
        node_name="n9",
        versions=(replace(four, node_address=IPv4Address(BEYOND_ADDRESS)), replace(six, node_address=None)),
        state_dir=tmp_path / "far",
        cni_conf_dir=tmp_path / "far-cni",
    )
    for seen in (cluster, far):
        node(seen, "n1", "10.232.0.0/24", "fd00:10:232::/64", NODE_ADDRESS, NODE6)
        node(seen, "n9", "10.232.9.0/24", "fd00:10:232:9::/64", BEYOND_ADDRESS)

    async def second(stop: asyncio.Event) -> None:
        async with running(far_config, far):
            await stop.wait()

    server = Server(BEYOND, "far", 8080, address="::")
    try:
        with in_thread(BEYOND, second):
            # Before it, the address would be somebody else's use of the range.
            await eventually(lambda: "unreachable fd00:10:232::/56" in sh(f"ip -n {BEYOND} -6 route show"), True)
            sh(f"ip -n {BEYOND} addr add {pod}/128 dev lo nodad")
            async with running(config, cluster):
                await eventually(lambda: ask(A, pod, 8080), ("far", PODS6["a"]))
                assert (await asyncio.to_thread(ask, NODE, pod, 8080))[0] == "far"
                assert (await asyncio.to_thread(ask, BEYOND, PODS6["b"], 8080))[0] == "b"
                cluster.delete("nodes", "/n9")
                await eventually(lambda: "fd00:10:232:9::/64" in sh(f"ip -n {NODE} -6 route show"), False)
    finally:
        server.close()


async def test_ipv6_alone_reaches_another_segment(
    servers: None, config: NetworkConfig, cluster: Cluster, beyond: None, tmp_path: Path
) -> None:
    """Nothing of IPv4 is made; the tunnel between two nodes' IPv6 addresses carries their pods' packets."""
    far, pod, here, there = Cluster(), "fd00:10:232:9::5", "fd00:88::1", "fd00:88::2"
    sh(f"ip -n {LAN} addr add {here}/64 dev segment2 nodad && ip -n {BEYOND} addr add {there}/64 dev eth0 nodad")
    sh(f"ip -n {BEYOND} -6 route add default via {here}")
    sh(f"ip netns exec {LAN} sysctl -qw net.ipv6.conf.all.forwarding=1")
    six = config.versions[1]
    alone = replace(config, versions=(replace(six, dns_address=IPv6Address("fd00:10:97::a")),))
    far_config = replace(
        alone,
        node_name="n9",
        versions=(replace(alone.first, node_address=IPv6Address(there)),),
        state_dir=tmp_path / "far",
        cni_conf_dir=tmp_path / "far-cni",
    )
    for seen in (cluster, far):
        for name, number, address in (("n1", 0, NODE6), ("n9", 9, there)):
            node(seen, name, f"fd00:10:232:{number}::/64", f"fd00:10:232:{number}::/64", address)

    async def second(stop: asyncio.Event) -> None:
        async with running(far_config, far):
            await stop.wait()

    server = Server(BEYOND, "far", 8080, address="::")
    forwarding = sh(f"ip netns exec {BEYOND} cat /proc/sys/net/ipv4/ip_forward")
    try:
        with in_thread(BEYOND, second):
            await eventually(lambda: "unreachable fd00:10:232::/56" in sh(f"ip -n {BEYOND} -6 route show"), True)
            sh(f"ip -n {BEYOND} addr add {pod}/128 dev lo nodad")
            async with running(alone, cluster):
                await eventually(lambda: ask(A, pod, 8080), ("far", PODS6["a"]))
                assert (await asyncio.to_thread(ask, NODE, pod, 8080))[0] == "far"
                assert (await asyncio.to_thread(ask, BEYOND, PODS6["b"], 8080))[0] == "b"
                assert '"mtu": 1430' in (config.cni_conf_dir / "10-pilothouse.conflist").read_text()
                assert "fd00:10:97::a" in sh(f"ip -n {NODE} -6 addr show dev pilothouse0")
                assert "10.232" not in sh(f"ip -n {BEYOND} route show")
                assert "table ip pilothouse" not in sh(f"ip netns exec {BEYOND} nft list tables")
                assert sh(f"ip netns exec {BEYOND} cat /proc/sys/net/ipv4/ip_forward") == forwarding
                cluster.delete("nodes", "/n9")
                await eventually(lambda: "pilothouse1" in sh(f"ip -n {NODE} -o link"), False)
    finally:
        server.close()


@pytest.mark.skipif(not (PLUGINS / "ptp").exists(), reason="needs the CNI plugins")
async def test_the_plugin_gives_a_pod_an_address_of_each(
    servers: None, config: NetworkConfig, cluster: Cluster
) -> None:
    pod = f"{PREFIX}six"
    sh(f"ip netns add {pod}")
    try:
        async with running(config, cluster):
            result: Any = await asyncio.to_thread(plugin, config, "ADD", pod)
            four, six = (str(entry["address"]).split("/")[0] for entry in result["ips"])
            servers = [Server(pod, "made", 8080, address=address) for address in ("::", "0.0.0.0")]
            assert (await asyncio.to_thread(ask, A, six, 8080)) == ("made", PODS6["a"])
            assert (await asyncio.to_thread(ask, A, four, 8080))[0] == "made"
            assert await asyncio.to_thread(ask, pod, LAN6, 80) == ("lan", NODE6)
            for server in servers:
                server.close()
            await asyncio.to_thread(plugin, config, "DEL", pod)
    finally:
        sh(f"ip netns del {pod}")


async def test_parameters_are_set_and_given_back(config: NetworkConfig, cluster: Cluster) -> None:
    assert has_ipv6()
    # Of ranges of its own: what is torn down includes the links of pods.
    six = Ranges(6, IPv6Address(NODE6), IPv6Network("fd00:10:233::/56"), IPv6Network("fd00:10:98::/112"))
    four = replace(config.first, pod_range=IPv4Network("10.233.0.0/16"))
    config = replace(config, versions=(four, six), table="pilothouse_test")
    node(cluster, "n1", "10.233.0.0/24", "fd00:10:233::/64", NODE_ADDRESS, NODE6)
    names = ("net.ipv6.conf.all.forwarding", "net/ipv6/conf/lan0/accept_ra")
    sh(f"ip netns exec {NODE} sysctl -qw net.ipv6.conf.all.forwarding=0 net.ipv6.conf.lan0.accept_ra=1")
    async with running(config, cluster):
        # It forwards, and goes on to hear routers where it did.
        assert [sysctl.read(name) for name in names] == ["1", "2"]
    tear_down(config)
    assert [sysctl.read(name) for name in names] == ["0", "1"]
    left = sh("nft list tables ip6")
    assert "pilothouse_test" not in left
