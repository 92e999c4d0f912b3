"""Every pair of pods and ports tried with real connections, under policies that hypothesis writes, on two nodes."""

from __future__ import annotations

import asyncio
import copy
import dataclasses
import itertools
import threading
from collections.abc import AsyncIterator
from concurrent.futures import ThreadPoolExecutor
from ipaddress import IPv4Address
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from network_host import (
    FAR,
    FAR_NODE,
    FAR_NODE_ADDRESS,
    LAN,
    LAN_ADDRESS,
    NODE_ADDRESS,
    PODS,
    PREFIX,
    Cluster,
    ask,
    in_thread,
    running,
    sh,
)
from policy_model import Place, World, permits

from pilothouse.network.config import NetworkConfig

pytestmark = pytest.mark.system

NAMESPACES = {"shop": {"team": "x", "kubernetes.io/metadata.name": "shop"}, "ops": {"team": "y"}}
PLACES = [
    Place("a", PODS["a"], "shop", {"app": "a", "tier": "front"}, {("http", "TCP"): 8080}),
    Place("b", PODS["b"], "shop", {"app": "b"}, {("http", "TCP"): 9090, ("q", "UDP"): 5353}),
    Place("c", PODS["c"], "ops", {"app": "a"}, {("http", "TCP"): 8080}),
    Place("d", FAR["d"], "shop", {"app": "a"}, {("http", "TCP"): 8080}),
    Place("e", FAR["e"], "ops", {"app": "b", "tier": "front"}, {("q", "UDP"): 5353}),
    Place("lan", LAN_ADDRESS),
]
PORTS = {"pod": (("TCP", 8080), ("TCP", 9090), ("UDP", 5353)), "lan": (("TCP", 80),)}
ATTEMPTS = [
    (source, target, protocol, port)
    for source, target in itertools.permutations(PLACES, 2)
    for protocol, port in PORTS["lan" if target.name == "lan" else "pod"]
]

_pairs = st.sampled_from([("app", "a"), ("app", "b"), ("tier", "front"), ("team", "x"), ("team", "y")])
_terms = st.one_of(
    st.builds(
        lambda pair, operator: {"key": pair[0], "operator": operator, "values": [pair[1]]},
        _pairs,
        st.sampled_from(["In", "NotIn"]),
    ),
    st.builds(
        lambda pair, operator: {"key": pair[0], "operator": operator},
        _pairs,
        st.sampled_from(["Exists", "DoesNotExist"]),
    ),
)
_selectors = st.one_of(
    st.just({}),
    _pairs.map(lambda pair: {"matchLabels": dict([pair])}),
    _terms.map(lambda term: {"matchExpressions": [term]}),
)
_blocks = st.sampled_from(
    [
        {"cidr": "0.0.0.0/0"},
        {"cidr": "192.168.77.0/24"},
        {"cidr": "10.232.0.0/16", "except": ["10.232.1.0/24"]},
        {"cidr": "10.232.0.0/24", "except": [f"{PODS['b']}/32", f"{PODS['c']}/32"]},
    ]
)
_peers = st.one_of(
    _selectors.map(lambda selector: {"podSelector": selector}),
    _selectors.map(lambda selector: {"namespaceSelector": selector}),
    st.builds(lambda ns, pods: {"namespaceSelector": ns, "podSelector": pods}, _selectors, _selectors),
    _blocks.map(lambda block: {"ipBlock": block}),
)
_ports = st.sampled_from(
    [
        {"port": 8080},
        {"port": 8000, "endPort": 8100},
        {"port": 9000, "endPort": 9090, "protocol": "TCP"},
        {"port": "http"},
        {"port": "q", "protocol": "UDP"},
        {"protocol": "UDP"},
        {"protocol": "TCP"},
        {"port": 80},
    ]
)


def _rules(word: str) -> st.SearchStrategy[dict[str, Any]]:
    return st.builds(
        lambda peers, ports: {**({word: peers} if peers else {}), **({"ports": ports} if ports else {})},
        st.lists(_peers, max_size=2),
        st.lists(_ports, max_size=2),
    )


_specs = st.builds(
    lambda pods, types, ingress, egress: {
        "podSelector": pods,
        **({"policyTypes": types} if types else {}),
        "ingress": ingress,
        "egress": egress,
    },
    _selectors,
    st.sampled_from([None, ["Ingress"], ["Egress"], ["Ingress", "Egress"]]),
    st.lists(_rules("from"), max_size=2),
    st.lists(_rules("to"), max_size=2),
)
policy_lists = st.lists(st.tuples(st.sampled_from(["shop", "ops"]), _specs), min_size=1, max_size=3)


class Matrix:
    """Two nodes that follow the same objects; `settle` waits until what passes is what the model permits."""

    def __init__(self, near: Cluster, far: Cluster, far_loop: asyncio.AbstractEventLoop) -> None:
        self._near, self._far, self._far_loop = near, far, far_loop
        self._loop = asyncio.get_running_loop()
        self._pool = ThreadPoolExecutor(24)
        self._policies: set[str] = set()

    def put(self, plural: str, tree: dict[str, Any]) -> None:
        self._loop.call_soon_threadsafe(self._near.put, plural, copy.deepcopy(tree))
        self._far_loop.call_soon_threadsafe(self._far.put, plural, copy.deepcopy(tree))

    def delete(self, plural: str, key: str) -> None:
        self._loop.call_soon_threadsafe(self._near.delete, plural, key)
        self._far_loop.call_soon_threadsafe(self._far.delete, plural, key)

    def apply(self, policies: list[dict[str, Any]]) -> None:
        keys = {f"{tree['metadata']['namespace']}/{tree['metadata']['name']}" for tree in policies}
        for key in self._policies - keys:
            self.delete("networkpolicies", key)
        for tree in policies:
            self.put("networkpolicies", tree)
        self._policies = keys

    def check(self, policies: list[dict[str, Any]], seconds: float = 20.0) -> None:
        self.apply(policies)
        world = World(NAMESPACES, policies)
        left = {attempt_text(*attempt): (attempt, permits(world, *attempt)) for attempt in ATTEMPTS}
        deadline = threading.Event()
        timer = threading.Timer(seconds, deadline.set)
        timer.start()
        try:
            while left and not deadline.is_set():
                found = dict(zip(left, self._pool.map(lambda item: passes(*item[0]), left.values())))
                left = {text: item for text, item in left.items() if found[text] != item[1]}
        finally:
            timer.cancel()
        assert not left, f"not as the model says: { {text: item[1] for text, item in left.items()} } under {policies}"

    def close(self) -> None:
        self._pool.shutdown()


def attempt_text(source: Place, target: Place, protocol: str, port: int) -> str:
    return f"{source.name} to {target.name} {protocol}/{port}"


def passes(source: Place, target: Place, protocol: str, port: int) -> bool:
    namespace = LAN if source.name == "lan" else PREFIX + source.name
    try:
        return ask(namespace, target.address, port, protocol.lower(), timeout=0.25)[0] == target.name
    except OSError:
        return False


@pytest.fixture
async def matrix(config: NetworkConfig, cluster: Cluster, servers: None, tmp_path: Path) -> AsyncIterator[Matrix]:
    far = Cluster()
    far_config = dataclasses.replace(
        config,
        node_name="n2",
        versions=(dataclasses.replace(config.first, node_address=IPv4Address(FAR_NODE_ADDRESS)),),
        state_dir=tmp_path / "far",
        cni_conf_dir=tmp_path / "far-cni",
        ipam_dir=tmp_path / "far-ipam",
    )

    async def second(stop: asyncio.Event) -> None:
        async with running(far_config, far):
            await stop.wait()

    for number, (name, address) in enumerate((("n1", NODE_ADDRESS), ("n2", FAR_NODE_ADDRESS))):
        node = {
            "metadata": {"name": name},
            "spec": {"podCIDR": f"10.232.{number}.0/24"},
            "status": {"addresses": [{"type": "InternalIP", "address": address}]},
        }
        cluster.put("nodes", node)
        far.put("nodes", copy.deepcopy(node))
    sh(f"ip -n {LAN} route replace 10.232.0.0/24 via {NODE_ADDRESS}")
    sh(f"ip -n {LAN} route replace 10.232.1.0/24 via {FAR_NODE_ADDRESS}")
    with in_thread(FAR_NODE, second) as far_loop:
        async with running(config, cluster):
            made = Matrix(cluster, far, far_loop)
            for name, labels in NAMESPACES.items():
                made.put("namespaces", {"metadata": {"name": name, "labels": labels}})
            for place in PLACES:
                if place.namespace:
                    made.put("pods", pod_of(place))
            await asyncio.to_thread(made.check, [], 30.0)
            yield made
            made.close()
    sh(f"ip -n {LAN} route del 10.232.0.0/24; ip -n {LAN} route del 10.232.1.0/24")


def pod_of(place: Place) -> dict[str, Any]:
    ports = [
        {"name": name, "containerPort": number, "protocol": protocol}
        for (name, protocol), number in place.ports.items()
    ]
    return {
        "metadata": {
            "name": place.name,
            "namespace": place.namespace,
            "uid": f"u-{place.name}",
            "labels": place.labels,
        },
        "spec": {
            "nodeName": "n2" if place.name in FAR else "n1",
            "containers": [{"name": "c", "image": "i", "ports": ports}],
        },
        "status": {"phase": "Running", "podIP": place.address},
    }


async def try_policies(matrix: Matrix, examples: int) -> None:
    @settings(
        max_examples=examples,
        deadline=None,
        database=None,
        phases=(Phase.generate,),
        suppress_health_check=list(HealthCheck),
    )
    @given(policy_lists)
    def tried(specs: list[tuple[str, dict[str, Any]]]) -> None:
        matrix.check(
            [
                {"metadata": {"name": f"p{number}", "namespace": namespace}, "spec": spec}
                for number, (namespace, spec) in enumerate(specs)
            ]
        )

    await asyncio.to_thread(tried)


async def test_connections_pass_as_the_model_says(matrix: Matrix) -> None:
    await try_policies(matrix, 6)


@pytest.mark.slow
async def test_connections_pass_as_the_model_says_at_length(matrix: Matrix) -> None:
    await try_policies(matrix, 150)
