"""Flows seen and flows denied, as the node tells them."""

from __future__ import annotations

import json
from typing import Any

import pytest
from network_host import LAN, LAN_ADDRESS, NODE_ADDRESS, PODS, PREFIX, Cluster, ask, eventually, running

from pilothouse.network.config import NetworkConfig
from pilothouse.network.network import Network

pytestmark = pytest.mark.system

A, B, C = (PREFIX + name for name in PODS)


def pods(cluster: Cluster) -> None:
    for name, address in PODS.items():
        cluster.pod(name, address, {"app": name, "pod-template-hash": name * 3})


def flows(network: Network) -> set[tuple[str, str, str, int]]:
    tree = json.loads(network.recorder.answer())
    return {(flow["source"], flow["destination"], flow["protocol"], flow["port"]) for flow in tree["flows"]}


def denied(network: Network) -> dict[tuple[str, str, str, int], Any]:
    tree = json.loads(network.recorder.answer())
    return {(flow["direction"], flow["source"], flow["destination"], flow["port"]): flow for flow in tree["denied"]}


async def test_connections_are_seen_with_their_ends(network: Network, cluster: Cluster) -> None:
    pods(cluster)
    cluster.endpoints("web", [PODS["b"]], [{"name": "", "port": 8080, "protocol": "TCP"}])
    cluster.service("web", "10.97.0.20", [{"port": 80, "protocol": "TCP", "nodePort": 30081}], type="NodePort")

    def seen() -> bool:
        """Connects anew each time: one that came before the recorder knew the pods has no names."""
        assert ask(A, "10.97.0.20", 80)[0] == ask(LAN, NODE_ADDRESS, 30081)[0] == "b"
        ask(A, PODS["c"], 5353, "udp")
        ask(A, LAN_ADDRESS, 80)
        return expected <= flows(network)

    expected = {
        ("shop/a", "shop/b", "tcp", 8080),
        ("shop/a", "shop/c", "udp", 5353),
        ("shop/a", LAN_ADDRESS, "tcp", 80),
        (LAN_ADDRESS, "shop/b", "tcp", 8080),
    }
    await eventually(seen, True, 30)
    tree = json.loads(network.recorder.answer())
    (flow,) = [flow for flow in tree["flows"] if flow["destination"] == "shop/c"]
    assert flow["from"] == {"namespace": "shop", "labels": {"app": "a"}}


async def test_denied_flows_name_their_policies(config: NetworkConfig, cluster: Cluster, servers: None) -> None:
    async with running(config, cluster) as network:
        pods(cluster)
        for name, direction, app in (("closed", "Ingress", "b"), ("mute", "Egress", "c"), ("also", "Ingress", "b")):
            spec = {"podSelector": {"matchLabels": {"app": app}}, "policyTypes": [direction]}
            cluster.put("networkpolicies", {"metadata": {"name": name, "namespace": "shop"}, "spec": spec})
        await eventually(lambda: ask(A, PODS["b"], 8080, timeout=0.3), TimeoutError)
        await eventually(lambda: ask(C, PODS["a"], 8080, timeout=0.3), TimeoutError)
        keys = {("ingress", "shop/a", "shop/b", 8080), ("egress", "shop/c", "shop/a", 8080)}
        await eventually(lambda: keys <= denied(network).keys(), True, 10)
        assert denied(network)["ingress", "shop/a", "shop/b", 8080]["policies"] == ["shop/also", "shop/closed"]
        assert network.recorder.record.policies.keys() == {"shop/also", "shop/closed", "shop/mute"}
        assert ("shop/c", "shop/a", "tcp", 8080) not in flows(network)
        counts = dict(network.recorder.record.policies)
    # The record outlives the process; a policy's count goes with the policy.
    cluster.delete("networkpolicies", "shop/mute")
    async with running(config, cluster) as network:
        assert keys <= denied(network).keys()
        assert network.recorder.record.policies["shop/closed"] >= counts["shop/closed"]
        assert "shop/mute" not in network.recorder.record.policies
