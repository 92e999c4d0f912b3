"""Network policies through real nftables: what passes, what is dropped, and what happens to flows already there."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from network_host import LAN, NODE, PODS, PREFIX, Cluster, Connection, ask, eventually, running, sh

from pilothouse.client.informer import Informer
from pilothouse.kinds.core.pod import Pod
from pilothouse.kinds.view import from_tree
from pilothouse.network.config import NetworkConfig
from pilothouse.network.network import Network

pytestmark = pytest.mark.system

RULES = f"ip netns exec {NODE} nft list table ip pilothouse | grep -v -e expires -e counter"
A, B, C = (PREFIX + name for name in PODS)


def policy(cluster: Cluster, name: str, **spec: Any) -> None:
    cluster.put("networkpolicies", {"metadata": {"name": name, "namespace": "shop"}, "spec": spec})


def pods(cluster: Cluster) -> None:
    for name, address in PODS.items():
        cluster.pod(name, address, {"app": name}, [{"name": "http", "containerPort": 8080, "protocol": "TCP"}])


async def passes(source: str, target: str, port: int = 8080) -> None:
    await eventually(lambda: ask(source, PODS[target], port, timeout=0.3)[0], target)


async def denied(source: str, target: str, port: int = 8080) -> None:
    await eventually(lambda: ask(source, PODS[target], port, timeout=0.3), TimeoutError)


async def test_default_deny_of_ingress(network: Network, cluster: Cluster) -> None:
    pods(cluster)
    await passes(A, "b")
    policy(cluster, "deny", podSelector={"matchLabels": {"app": "b"}}, policyTypes=["Ingress"])
    await denied(A, "b")
    await passes(A, "c")
    await passes(B, "c")
    await passes(NODE, "b")
    cluster.delete("networkpolicies", "shop/deny")
    await passes(A, "b")


async def test_allowed_peers_and_ports(network: Network, cluster: Cluster) -> None:
    pods(cluster)
    policy(
        cluster,
        "web",
        podSelector={"matchLabels": {"app": "b"}},
        ingress=[{"from": [{"podSelector": {"matchLabels": {"app": "a"}}}], "ports": [{"port": "http"}]}],
    )
    await denied(C, "b")
    await passes(A, "b")
    await denied(A, "b", 9090)
    # A pod that comes to match the selector is let in, and out again.
    cluster.pod("c", PODS["c"], {"app": "a"})
    await passes(C, "b")
    cluster.pod("c", PODS["c"], {"app": "c"})
    await denied(C, "b")


async def test_egress_with_blocks_and_exceptions(network: Network, cluster: Cluster) -> None:
    pods(cluster)
    block = {"cidr": "10.232.0.0/24", "except": [f"{PODS['c']}/32"]}
    policy(
        cluster,
        "out",
        podSelector={"matchLabels": {"app": "a"}},
        policyTypes=["Egress"],
        egress=[{"to": [{"ipBlock": block}], "ports": [{"port": 8000, "endPort": 8100}]}],
    )
    await denied(A, "c")
    await passes(A, "b")
    await denied(A, "b", 9090)
    await passes(B, "a")
    await eventually(lambda: ask(A, "192.168.77.2", 80, timeout=0.3), TimeoutError)


async def test_policy_sees_the_pod_behind_a_service(network: Network, cluster: Cluster) -> None:
    pods(cluster)
    cluster.endpoints("web", [PODS["b"]], [{"name": "", "port": 8080, "protocol": "TCP"}])
    cluster.service("web", "10.97.0.40", [{"port": 80, "protocol": "TCP"}])
    await eventually(lambda: ask(A, "10.97.0.40", 80)[0], "b")
    policy(
        cluster,
        "web",
        podSelector={"matchLabels": {"app": "b"}},
        ingress=[{"from": [{"podSelector": {"matchLabels": {"app": "c"}}}]}],
    )
    await eventually(lambda: ask(A, "10.97.0.40", 80, timeout=0.3), TimeoutError)
    await eventually(lambda: ask(C, "10.97.0.40", 80)[0], "b")
    # A pod cannot be kept from itself.
    await eventually(lambda: ask(B, "10.97.0.40", 80)[0], "b")


async def test_a_new_deny_ends_established_flows_and_only_those(network: Network, cluster: Cluster) -> None:
    pods(cluster)
    cut = await asyncio.to_thread(Connection, A, PODS["b"], 8080, "tcp", 0.3)
    kept = await asyncio.to_thread(Connection, C, PODS["b"], 8080, "tcp", 0.3)
    assert (await asyncio.to_thread(cut.ask))[0] == "b"
    assert (await asyncio.to_thread(kept.ask))[0] == "b"
    policy(
        cluster,
        "web",
        podSelector={"matchLabels": {"app": "b"}},
        ingress=[{"from": [{"podSelector": {"matchLabels": {"app": "c"}}}]}],
    )
    await eventually(lambda: cut.ask()[0], TimeoutError)
    assert (await asyncio.to_thread(kept.ask))[0] == "b"
    kept.close()
    cut.close()


async def test_namespace_selector_follows_labels(network: Network, cluster: Cluster) -> None:
    pods(cluster)
    policy(
        cluster,
        "teams",
        podSelector={"matchLabels": {"app": "b"}},
        ingress=[{"from": [{"namespaceSelector": {"matchLabels": {"team": "x"}}}]}],
    )
    await denied(A, "b")
    cluster.put("namespaces", {"metadata": {"name": "shop", "labels": {"team": "x"}}})
    await passes(A, "b")


async def test_a_policy_is_in_force_before_the_pod_starts(network: Network, cluster: Cluster) -> None:
    policy(cluster, "deny", podSelector={}, policyTypes=["Ingress"])
    tree = cluster.pod("b", "", {"app": "b"})
    await eventually(lambda: ask(A, PODS["b"], 8080, timeout=0.3)[0], "b")
    await network.pod_starting(from_tree(Pod, tree), PODS["b"])
    with pytest.raises(TimeoutError):
        await asyncio.to_thread(ask, A, PODS["b"], 8080, "tcp", 0.3)


async def test_an_address_used_again_inherits_nothing(network: Network, cluster: Cluster) -> None:
    policy(cluster, "deny", podSelector={"matchLabels": {"app": "old"}}, policyTypes=["Ingress"])
    cluster.pod("old", PODS["b"], {"app": "old"})
    await denied(A, "b")
    tree = cluster.pod("new", "", {"app": "new"})
    await network.pod_starting(from_tree(Pod, tree), PODS["b"])
    assert (await asyncio.to_thread(ask, A, PODS["b"], 8080, "tcp", 0.3))[0] == "b"


async def test_outside_clients_of_host_ports_meet_the_policy(network: Network, cluster: Cluster) -> None:
    cluster.pod("b", PODS["b"], {"app": "b"}, [{"containerPort": 8080, "hostPort": 8089, "protocol": "TCP"}])
    await eventually(lambda: ask(LAN, "192.168.77.1", 8089)[0], "b")
    policy(
        cluster,
        "lan",
        podSelector={"matchLabels": {"app": "b"}},
        ingress=[{"from": [{"ipBlock": {"cidr": "192.168.78.0/24"}}]}],
    )
    await eventually(lambda: ask(LAN, "192.168.77.1", 8089, timeout=0.3), TimeoutError)


async def test_a_restart_keeps_policies_in_force(config: NetworkConfig, cluster: Cluster, servers: None) -> None:
    async with running(config, cluster):
        pods(cluster)
        policy(
            cluster,
            "web",
            podSelector={"matchLabels": {"app": "b"}},
            ingress=[{"from": [{"podSelector": {"matchLabels": {"app": "c"}}}]}],
        )
        await denied(A, "b")
        await passes(C, "b")
        before = sh(RULES)
    await denied(A, "b")
    async with running(config, cluster):
        await denied(A, "b")
        await passes(C, "b")
        assert sh(RULES) == before
    cluster.delete("networkpolicies", "shop/web")
    async with running(config, cluster):
        await passes(A, "b")


async def test_the_nodes_own_informer_of_pods_may_be_shared(
    config: NetworkConfig, cluster: Cluster, servers: None
) -> None:
    shared: Informer[Pod] = Informer(cluster.client, Pod)
    task = asyncio.create_task(shared.run())
    async with running(config, cluster, shared):
        cluster.pod("b", PODS["b"], {"app": "b"}, [{"containerPort": 8080, "hostPort": 8090, "protocol": "TCP"}])
        await eventually(lambda: ask(LAN, "192.168.77.1", 8090)[0], "b")
        policy(cluster, "deny", podSelector={}, policyTypes=["Ingress"])
        await denied(A, "b")
    task.cancel()
