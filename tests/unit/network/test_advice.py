"""The advised policies allow every recorded flow, and no other."""

from __future__ import annotations

import itertools
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pilothouse.kinds.networking.network_policy import NetworkPolicy
from pilothouse.kinds.view import from_tree
from pilothouse.network.advice import DNS, World, advise, cut, flow_of, unused
from pilothouse.network.policy import plan, understand
from pilothouse.network.record import End, FlowKey
from pilothouse.network.verdict import Attempt, allowed
from pilothouse.network.views import PodView

NAMESPACES = {name: {"kubernetes.io/metadata.name": name} for name in ("shop", "ops", "kube-system")}


def pod(number: int, namespace: str, **labels: str) -> PodView:
    tree = {
        "metadata": {"name": f"p{number}", "namespace": namespace, "labels": {**labels, "pod-template-hash": "x"}},
        "spec": {"nodeName": "n1"},
        "status": {"podIP": f"10.1.0.{number}", "phase": "Running"},
    }
    return from_tree(PodView, tree)


PODS = [
    pod(1, "shop", app="web"),
    pod(2, "shop", app="web", tier="cache"),
    pod(3, "shop"),
    pod(4, "shop", app="db"),
    pod(5, "ops", app="web"),
    pod(6, "ops", app="metrics", tier="cache"),
]


def end(index: int) -> End:
    meta = PODS[index].metadata
    labels = {key: value for key, value in meta.labels.items() if key != "pod-template-hash"}
    return End(meta.namespace, tuple(sorted(labels.items())))


ENDS = [*(end(index) for index in range(len(PODS))), DNS, End(address="192.0.2.9"), End(address="192.0.2.10")]
ADDRESSES = [*(p.status.pod_ip for p in PODS), "240.0.0.1", "192.0.2.9", "192.0.2.10"]
PORTS = [("tcp", 80), ("udp", 80), ("udp", 53)]
flows = st.tuples(st.sampled_from(ENDS), st.sampled_from(ENDS), st.sampled_from(PORTS)).map(
    lambda item: (item[0], item[1], *item[2])
)


def policies(trees: list[Any]) -> list[NetworkPolicy]:
    return [from_tree(NetworkPolicy, tree) for tree in trees]


@given(st.lists(flows, max_size=12))
def test_what_was_recorded_passes_and_nothing_else(recorded: list[FlowKey]) -> None:
    world = World(PODS, NAMESPACES, [], recorded)
    advised = policies(advise("shop", world).policies)
    rules = plan(map(understand, advised))
    pods = {facts.address: facts for facts in world.ends().values()}
    known = set(recorded)
    for (source, from_), (destination, to) in itertools.permutations(zip(ENDS, ADDRESSES), 2):
        if "shop" not in (source.namespace, destination.namespace):
            continue
        for protocol, port in [*PORTS, ("tcp", 81)]:
            passes = allowed(rules, pods, NAMESPACES, Attempt(from_, to, protocol, port))
            assert passes == ((source, destination, protocol, port) in known)
    assert not cut("shop", world, advised)


def test_the_advice_is_idempotent_and_names_what_it_replaces() -> None:
    recorded = [(end(0), end(3), "tcp", 5432), (end(0), DNS, "udp", 53)]
    wide = from_tree(
        NetworkPolicy,
        {
            "metadata": {"name": "wide", "namespace": "shop"},
            "spec": {"podSelector": {}, "ingress": [{"from": [{"podSelector": {}}], "ports": [{"port": 5432}]}]},
        },
    )
    advice = advise("shop", World(PODS, NAMESPACES, [wide], recorded))
    assert advice.superseded == ["wide"]
    assert [policy["metadata"]["name"] for policy in advice.policies] == ["pods", "db", "web", "web-2"]
    web = next(p for p in advice.policies if p["metadata"]["name"] == "web")
    assert web["spec"]["podSelector"] == {
        "matchLabels": {"app": "web"},
        "matchExpressions": [{"key": "tier", "operator": "DoesNotExist"}],
    }
    assert web["spec"]["egress"][1]["to"][0]["podSelector"] == {"matchLabels": {"k8s-app": "kube-dns"}}


def test_unused_permissions_are_named() -> None:
    wide = from_tree(
        NetworkPolicy,
        {
            "metadata": {"name": "wide", "namespace": "shop"},
            "spec": {
                "podSelector": {"matchLabels": {"app": "db"}},
                "ingress": [
                    {
                        "from": [{"podSelector": {"matchLabels": {"app": "web"}}}, {"ipBlock": {"cidr": "0.0.0.0/0"}}],
                        "ports": [{"port": 5432}, {"port": 9187}],
                    }
                ],
            },
        },
    )
    nobody = {
        "metadata": {"name": "typo", "namespace": "shop"},
        "spec": {"podSelector": {"matchLabels": {"app": "wbe"}}},
    }
    world = World(PODS, NAMESPACES, [wide, *policies([nobody])], [(end(0), end(3), "tcp", 5432)])
    assert unused("shop", world) == [
        "shop/wide: spec.ingress[0].from[0] with ports[1] was never used",
        "shop/wide: spec.ingress[0].from[1] with ports[1] was never used",
        "shop/typo: spec.podSelector selects no pod",
    ]


def test_a_proposal_is_told_what_it_cuts() -> None:
    recorded = [
        (end(0), end(3), "tcp", 5432),
        (end(5), end(3), "tcp", 5432),
        (End(address="192.0.2.9"), end(0), "tcp", 80),
    ]
    world = World(PODS, NAMESPACES, [], recorded)

    def proposal(*rules: Any) -> list[NetworkPolicy]:
        spec = {"podSelector": {"matchLabels": {"app": "db"}}, "policyTypes": ["Ingress"], "ingress": list(rules)}
        return policies([{"metadata": {"name": "d", "namespace": "shop"}, "spec": spec}])

    assert cut("shop", world, proposal()) == recorded[:2]
    assert not cut("shop", world, proposal({"from": [{"namespaceSelector": {}}]}))
    broken = proposal({"from": [{"ipBlock": {"cidr": "not-a-cidr"}}]})
    with pytest.raises(ValueError, match="not-a-cidr"):
        cut("shop", world, broken)


def test_items_of_the_api_become_flows() -> None:
    item = {"from": {"namespace": "shop", "labels": {"a": "b"}}, "to": {"address": "192.0.2.1"}}
    assert flow_of({**item, "protocol": "tcp", "port": 80}) == (
        End("shop", (("a", "b"),)),
        End(address="192.0.2.1"),
        "tcp",
        80,
    )
    assert flow_of({**item, "to": {"address": "nonsense"}, "protocol": "tcp", "port": 80}) is None
