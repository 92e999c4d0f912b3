"""Policies: the chains and sets of a pod say the same as the plain reading of the policies does."""

from __future__ import annotations

from ipaddress import ip_address, ip_network
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pilothouse.kinds.networking.network_policy import NetworkPolicy
from pilothouse.kinds.view import from_tree
from pilothouse.network.facts import Contribution
from pilothouse.network.pods import PodFacts
from pilothouse.network.policy import Plan, closed, plan, plan_rules, pod_rules, understand
from pilothouse.network.verdict import Attempt, allowed

NAMESPACES = {"x": {"team": "one"}, "y": {"team": "two"}}
LABELS = [{"app": "a"}, {"app": "b"}, {"app": "b", "tier": "c"}, {}]
OUTSIDE = {4: ["192.168.7.9", "192.168.8.9", "8.8.8.8"], 6: ["fd01:7::9", "fd01:8::9", "2001:db8::8"]}


def make_pods(network: str) -> dict[str, PodFacts]:
    found = {}
    for number, (namespace, labels) in enumerate((n, labels) for n in NAMESPACES for labels in LABELS):
        address = f"{network}{number + 10}"
        ports = {("web", "tcp"): 8080 + number % 2} if number % 3 else {}
        found[address] = PodFacts(f"{namespace}/p{number}", namespace, address, labels, ports, local=number % 4 != 3)
    return found


PODS = make_pods("10.232.0.")
WORLDS = {4: PODS, 6: make_pods("fd00:10:232::")}
"""The same pods by their addresses of each version of IP."""

selectors = st.sampled_from(
    [
        {},
        {"matchLabels": {"app": "a"}},
        {"matchLabels": {"app": "b"}},
        {"matchExpressions": [{"key": "tier", "operator": "DoesNotExist"}]},
        {"matchExpressions": [{"key": "app", "operator": "In", "values": ["a", "b"]}]},
    ]
)
namespace_selectors = st.sampled_from([{}, {"matchLabels": {"team": "one"}}, {"matchLabels": {"team": "none"}}])
peers = st.one_of(
    st.fixed_dictionaries({"podSelector": selectors}),
    st.fixed_dictionaries({"namespaceSelector": namespace_selectors}),
    st.fixed_dictionaries({"podSelector": selectors, "namespaceSelector": namespace_selectors}),
    st.sampled_from(
        [
            {"ipBlock": {"cidr": "0.0.0.0/0"}},
            {"ipBlock": {"cidr": "192.168.0.0/16", "except": ["192.168.7.0/24"]}},
            {"ipBlock": {"cidr": "10.232.0.8/29", "except": ["10.232.0.12/32"]}},
            {"ipBlock": {"cidr": "::/0"}},
            {"ipBlock": {"cidr": "fd01::/16", "except": ["fd01:7::/48"]}},
            {"ipBlock": {"cidr": "fd00:10:232::/124", "except": ["fd00:10:232::12/128"]}},
        ]
    ),
)
ports = st.sampled_from(
    [
        {"port": 8080},
        {"port": 8000, "endPort": 8080},
        {"port": "web"},
        {"protocol": "UDP"},
        {"port": 53, "protocol": "UDP"},
        {"protocol": "TCP"},
    ]
)


def rules(peer_field: str) -> st.SearchStrategy[list[dict[str, Any]]]:
    rule = st.fixed_dictionaries(
        {}, optional={peer_field: st.lists(peers, max_size=2), "ports": st.lists(ports, max_size=2)}
    )
    return st.lists(rule, max_size=2)


policies = st.builds(
    lambda number, namespace, spec: from_tree(
        NetworkPolicy, {"metadata": {"name": f"p{number}", "namespace": namespace}, "spec": spec}
    ),
    st.integers(0, 9999),
    st.sampled_from(list(NAMESPACES)),
    st.fixed_dictionaries(
        {"podSelector": selectors, "ingress": rules("from"), "egress": rules("to")},
        optional={"policyTypes": st.sampled_from([["Ingress"], ["Egress"], ["Ingress", "Egress"]])},
    ),
)


def attempts(version: int) -> st.SearchStrategy[Attempt]:
    return st.builds(
        Attempt,
        st.sampled_from([*WORLDS[version], *OUTSIDE[version]]),
        st.sampled_from([*WORLDS[version], *OUTSIDE[version]]),
        st.sampled_from(["tcp", "udp", "1"]),
        st.sampled_from([53, 80, 8000, 8080, 8081]),
    ).filter(lambda attempt: attempt.source != attempt.destination)


def chain_passes(rules: tuple[str, ...], everything: Contribution, attempt: Attempt) -> bool:
    """Reads a chain as nftables does: the first rule all of whose matches hold decides."""
    values = {
        "ip saddr": attempt.source,
        "ip daddr": attempt.destination,
        "meta l4proto": attempt.protocol,
        "th dport": str(attempt.port),
        "ip daddr . meta l4proto . th dport": f"{attempt.destination} . {attempt.protocol} . {attempt.port}",
    }
    for rule in rules:
        rest = rule
        holds = True
        while rest not in ("return", "goto deny_ingress", "goto deny_egress"):
            field = max((name for name in values if rest.startswith(name + " ")), key=len)
            rest = rest.removeprefix(field + " ")
            negative = rest.startswith("!= ")
            rest = rest.removeprefix("!= ")
            if rest.startswith("{"):
                inner, rest = rest[1:].split("}", 1)
                wanted = [word.strip() for word in inner.split(",")]
            else:
                word, _, rest = rest.partition(" ")
                wanted = [word]
            rest = rest.strip()
            holds = holds and negative != any(value_matches(values[field], word, everything) for word in wanted)
        if holds:
            return rest == "return"
    raise AssertionError("a chain without an end")


def value_matches(value: str, word: str, everything: Contribution) -> bool:
    if word.startswith("@"):
        assert word[1:] in everything.sets
        return (word[1:], value) in everything.elements
    if "/" in word:
        return ip_address(value) in ip_network(word)
    if "-" in word:
        first, last = word.split("-")
        return int(first) <= int(value) <= int(last)
    return value == word


def table_passes(policies_plan: Plan, pods: dict[str, PodFacts], attempt: Attempt) -> bool:
    everything = plan_rules(policies_plan)
    for pod in pods.values():
        everything = everything | pod_rules(policies_plan, pod, NAMESPACES)
    for direction, address in (("egress", attempt.source), ("ingress", attempt.destination)):
        jump = everything.elements.get((direction, address))
        if jump is not None and not chain_passes(everything.chains[jump.removeprefix("jump ")], everything, attempt):
            return False
    return True


@pytest.mark.parametrize("version", [4, 6])
@settings(max_examples=200, deadline=None)
@given(data=st.data(), found=st.lists(policies, max_size=3, unique_by=lambda policy: policy.key))
def test_table_and_reading_agree(version: int, data: st.DataObject, found: list[NetworkPolicy]) -> None:
    policies_plan, pods = plan(understand(policy) for policy in found), WORLDS[version]
    for attempt in data.draw(st.lists(attempts(version), min_size=5, max_size=20)):
        expected = allowed(policies_plan, pods, NAMESPACES, attempt)
        assert table_passes(policies_plan, pods, attempt) == expected, attempt


def policy(**spec: Any) -> NetworkPolicy:
    made: NetworkPolicy = from_tree(NetworkPolicy, {"metadata": {"name": "p", "namespace": "x"}, "spec": spec})
    return made


def test_without_policies_everything_passes_and_nothing_is_added() -> None:
    nothing = plan(())
    assert not plan_rules(nothing)
    assert not pod_rules(nothing, PODS["10.232.0.10"], NAMESPACES)


def test_types_follow_the_rules_when_not_named() -> None:
    assert set(understand(policy()).rules) == {"ingress"}
    assert set(understand(policy(egress=[{}])).rules) == {"ingress", "egress"}


def test_a_policy_not_understood_closes_its_namespace() -> None:
    broken = policy(podSelector={"matchExpressions": [{"key": "a", "operator": "Near"}]})
    with pytest.raises(ValueError, match="Near"):
        understand(broken)
    policies_plan = plan([closed(broken)])
    assert not allowed(policies_plan, PODS, NAMESPACES, Attempt("8.8.8.8", "10.232.0.10", "tcp", 80))


def test_pods_with_the_same_policies_share_a_chain() -> None:
    policies_plan = plan([understand(policy(ingress=[{"ports": [{"port": 80}]}]))])
    first, second = (pod_rules(policies_plan, PODS[address], NAMESPACES) for address in ("10.232.0.10", "10.232.0.11"))
    assert first.chains == second.chains
    assert first.elements != second.elements
