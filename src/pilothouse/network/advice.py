"""The least NetworkPolicies that keep recorded flows working, and what policies would do to those flows. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import product
from typing import Any, TypeVar

from pilothouse.kinds.networking.network_policy import NetworkPolicy
from pilothouse.kinds.workload_labels import workload_labels
from pilothouse.machinery.objects import Obj
from pilothouse.network.facts import version_of
from pilothouse.network.pods import PodFacts, pod_facts
from pilothouse.network.policy import DIRECTIONS, Direction, Policy, Rule, plan, understand
from pilothouse.network.record import End, FlowKey
from pilothouse.network.verdict import Attempt, allowed, rule_matches
from pilothouse.network.views import PodView

NAMESPACE_NAME = "kubernetes.io/metadata.name"
DNS = End("kube-system", (("k8s-app", "kube-dns"),))
_SIDES: Mapping[Direction, str] = {"ingress": "from", "egress": "to"}
T = TypeVar("T")
_NOWHERE = "240.0.{}.{}"
"""Addresses for workloads whose pods are gone: of a range that nobody has."""


@dataclass(frozen=True, slots=True)
class World:
    """`namespaces` are labels by name."""

    pods: Sequence[PodView]
    namespaces: Mapping[str, Mapping[str, str]]
    policies: Sequence[NetworkPolicy]
    flows: Sequence[FlowKey]

    def ends(self) -> dict[End, PodFacts]:
        """Every workload known or recorded, each with the facts of one of its pods (one made up, if all are gone)."""
        found: dict[End, PodFacts] = {}
        for pod in self.pods:
            facts = pod_facts(pod, pod.status.pod_ip, pod.spec.node_name)
            if facts is not None:
                found[End(pod.namespace, tuple(workload_labels(pod.metadata.labels).items()))] = facts
        gone = {end for flow in self.flows for end in flow[:2] if end.namespace} | {DNS}
        for number, end in enumerate(sorted(gone - found.keys(), key=_order), start=1):
            address = _NOWHERE.format(number >> 8, number & 255)
            found[end] = PodFacts(f"{end.namespace}/(gone)", end.namespace, address, dict(end.labels), local=True)
        return found


@dataclass(slots=True)
class Advice:
    """`policies` to apply, the parts of today's policies that no recorded flow used, in words, and the names of today's
    policies to delete afterwards: what one policy allows, no other takes back."""

    policies: list[Obj] = field(default_factory=list)
    unused: list[str] = field(default_factory=list)
    superseded: list[str] = field(default_factory=list)


def advise(namespace: str, world: World) -> Advice:
    """One policy for each workload of the namespace, isolated in both directions, that allows what was recorded."""
    ends = world.ends()
    advice = Advice(unused=unused(namespace, world))
    names: set[str] = set()
    for workload in sorted((end for end in ends if end.namespace == namespace and end != DNS), key=_order):
        rules: dict[Direction, dict[End, set[tuple[str, int]]]] = {"ingress": {}, "egress": {}}
        for source, destination, protocol, port in world.flows:
            if destination == workload:
                rules["ingress"].setdefault(source, set()).add((protocol, port))
            if source == workload:
                rules["egress"].setdefault(destination, set()).add((protocol, port))
        spec: Obj = {"podSelector": selector(workload, ends), "policyTypes": ["Ingress", "Egress"]}
        for direction in DIRECTIONS:
            found = _rules(direction, namespace, rules[direction], ends)
            if found:
                spec[direction] = found
        meta = {"name": _name(workload, names), "namespace": namespace}
        advice.policies.append(
            {"apiVersion": "networking.k8s.io/v1", "kind": "NetworkPolicy", "metadata": meta, "spec": spec}
        )
    advice.superseded = sorted({p.name for p in world.policies if p.namespace == namespace} - names)
    return advice


def selector(workload: End, others: Iterable[End]) -> Obj:
    """A label selector that matches a workload's pods and none of another known workload of its namespace."""
    labels = dict(workload.labels)
    absent = {
        min(other.keys() - labels.keys())
        for other in (dict(end.labels) for end in others if end.namespace == workload.namespace and end != workload)
        if labels.items() <= other.items()
    }
    made: Obj = {"matchLabels": labels} if labels else {}
    if absent:
        made["matchExpressions"] = [{"key": key, "operator": "DoesNotExist"} for key in sorted(absent)]
    return made


def cut(namespace: str, world: World, proposed: Sequence[NetworkPolicy]) -> list[FlowKey]:
    """The recorded flows that pass today and would not, were these policies applied (by name, as `apply` does).

    Raises ValueError for a policy that cannot be understood.
    """
    ends = world.ends()
    today = [understand(policy) for policy in world.policies]
    fresh = {policy.key: policy for policy in map(understand, proposed)}
    after = [policy for policy in today if policy.key not in fresh] + list(fresh.values())
    return [
        flow
        for flow in world.flows
        if namespace in (flow[0].namespace, flow[1].namespace)
        and _passes(flow, today, ends, world)
        and not _passes(flow, after, ends, world)
    ]


def unused(namespace: str, world: World) -> list[str]:
    """What today's policies of the namespace allow and no recorded flow used."""
    ends = world.ends()
    found = []
    pods = {facts.address: facts for facts in ends.values()}
    attempts = [(flow, _attempt(flow, ends)) for flow in world.flows]
    for policy in map(understand, (p for p in world.policies if p.namespace == namespace)):
        if not any(facts.namespace == namespace and policy.pods.matches(facts.labels) for facts in ends.values()):
            found.append(f"{policy.key}: spec.podSelector selects no pod")
            continue
        for direction, where, rule in _single_rules(policy):
            if not any(
                _concerns(policy, direction, flow, ends)
                and rule_matches(rule, direction, attempt, pods, world.namespaces)
                for flow, attempt in attempts
            ):
                found.append(f"{policy.key}: {where} was never used")
    return found


def _single_rules(policy: Policy) -> Iterator[tuple[Direction, str, Rule]]:
    """Each peer with each port as a rule of its own, and where it is written."""
    for direction in DIRECTIONS:
        side = _SIDES[direction]
        for index, rule in enumerate(policy.rules.get(direction, ())):
            peers = rule.peers if rule.peers is not None else (None,)
            ports = rule.ports if rule.ports is not None else (None,)
            for (p, peer), (q, port) in product(enumerate(peers), enumerate(ports)):
                where = f"spec.{direction}[{index}]"
                where += f".{side}[{p}]" if peer is not None else ""
                where += f" with ports[{q}]" if port is not None else ""
                yield (
                    direction,
                    where,
                    Rule((peer,) if peer is not None else None, (port,) if port is not None else None),
                )


def _one(item: T | None) -> tuple[T, ...] | None:
    return (item,) if item is not None else None


def _concerns(policy: Policy, direction: Direction, flow: FlowKey, ends: Mapping[End, PodFacts]) -> bool:
    end = flow[1] if direction == "ingress" else flow[0]
    facts = ends.get(end)
    return facts is not None and facts.namespace == policy.namespace and policy.pods.matches(facts.labels)


def _passes(flow: FlowKey, policies: Iterable[Policy], ends: Mapping[End, PodFacts], world: World) -> bool:
    pods = {facts.address: facts for facts in ends.values()}
    return allowed(plan(policies), pods, world.namespaces, _attempt(flow, ends))


def _attempt(flow: FlowKey, ends: Mapping[End, PodFacts]) -> Attempt:
    source, destination, protocol, port = flow
    addresses = [ends[end].address if end.namespace else end.address for end in (source, destination)]
    return Attempt(addresses[0], addresses[1], protocol, port)


def _rules(
    direction: Direction, namespace: str, peers: Mapping[End, set[tuple[str, int]]], ends: Iterable[End]
) -> list[Obj]:
    """Peers with the same ports share a rule."""
    word = _SIDES[direction]
    shared: dict[tuple[tuple[str, int], ...], list[End]] = {}
    for end in sorted(peers, key=_order):
        shared.setdefault(tuple(sorted(peers[end])), []).append(end)
    known = list(ends)
    return [
        {
            word: [_peer(end, namespace, known) for end in group],
            "ports": [{"protocol": protocol.upper(), "port": port} for protocol, port in ports],
        }
        for ports, group in sorted(shared.items())
    ]


def _peer(end: End, namespace: str, ends: Sequence[End]) -> Obj:
    if not end.namespace:
        return {"ipBlock": {"cidr": f"{end.address}/{128 if ':' in end.address else 32}"}}
    peer: Obj = {"podSelector": selector(end, ends)}
    if end.namespace != namespace:
        peer = {"namespaceSelector": {"matchLabels": {NAMESPACE_NAME: end.namespace}}, **peer}
    return peer


def _order(end: End) -> tuple[str, tuple[tuple[str, str], ...], str]:
    return end.namespace, end.labels, end.address


def _name(workload: End, taken: set[str]) -> str:
    labels = dict(workload.labels)
    stem = labels.get("app.kubernetes.io/name") or labels.get("app") or labels.get("k8s-app") or "pods"
    part = labels.get("app.kubernetes.io/component") or labels.get("component")
    wanted = f"{stem}-{part}" if part else stem
    base = "".join(c if c.isascii() and c.isalnum() else "-" for c in wanted.lower()).strip("-") or "pods"
    name, number = base[:50], 1
    while name in taken:
        number += 1
        name = f"{base[:50]}-{number}"
    taken.add(name)
    return name


def flow_of(item: Mapping[str, Any]) -> FlowKey | None:
    """The flow that an item of the API tells of; None for one of which an end is no address."""
    ends = []
    for tree in (item["from"], item["to"]):
        labels = tuple(sorted((tree.get("labels") or {}).items()))
        address = tree.get("address", "")
        if not tree.get("namespace") and not version_of(address):
            return None
        ends.append(End(tree.get("namespace", ""), labels, "" if tree.get("namespace") else address))
    return ends[0], ends[1], str(item["protocol"]), int(item["port"])
