"""NetworkPolicies as chains and sets: what each pod adds to the table, given the policies. Pure.

A pod that policies select in a direction has an element in `ingress` or `egress` that jumps to a chain with all
rules of those policies; a rule that matches returns, the chain's end denies. Pods with the same policies (and the same
numbers for named ports) share a chain, named after its content. A peer selector is a set named after the selector,
whose elements are the addresses of the pods it matches, so that a pod that comes or goes changes elements only.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from ipaddress import ip_network
from typing import Literal, NamedTuple

from pilothouse.kinds.families import IPV4, family_of
from pilothouse.kinds.networking.network_policy import NetworkPolicy, NetworkPolicyPeer, NetworkPolicyPort
from pilothouse.machinery.selectors import EVERYTHING, Selector, from_label_selector
from pilothouse.network.facts import Contribution
from pilothouse.network.pods import PodFacts

Direction = Literal["ingress", "egress"]
_EVERYWHERE = ("0.0.0.0/0", "::/0")
DIRECTIONS: tuple[Direction, Direction] = ("ingress", "egress")


class PodPeer(NamedTuple):
    """Pods matched by a selector, in one namespace or in those matched by another."""

    namespace: str
    namespaces: Selector | None
    pods: Selector

    def matches(self, pod: PodFacts, namespaces: Mapping[str, Mapping[str, str]]) -> bool:
        if self.namespaces is None:
            return pod.namespace == self.namespace and self.pods.matches(pod.labels)
        return self.namespaces.matches(namespaces.get(pod.namespace)) and self.pods.matches(pod.labels)


class BlockPeer(NamedTuple):
    """Addresses in a range, without those of some ranges in it."""

    cidr: str
    without: tuple[str, ...]


Peer = PodPeer | BlockPeer


class Port(NamedTuple):
    """A protocol with all its ports (`first` 0), a range of them, or a named one (`name`)."""

    protocol: str
    first: int
    last: int
    name: str


class Rule(NamedTuple):
    """Allows what matches one of the peers (None: anyone) and one of the ports (None: everything)."""

    peers: tuple[Peer, ...] | None
    ports: tuple[Port, ...] | None


@dataclass(frozen=True, slots=True)
class Policy:
    """A NetworkPolicy understood: `rules` has an entry for each direction in which it isolates."""

    key: str
    namespace: str
    pods: Selector
    rules: Mapping[Direction, tuple[Rule, ...]]


@dataclass(frozen=True, slots=True)
class Plan:
    """All policies, and the sets that their peers and named ports need."""

    policies: Mapping[str, tuple[Policy, ...]] = field(default_factory=dict)
    peers: Mapping[str, PodPeer] = field(default_factory=dict)
    named: Mapping[str, tuple[PodPeer | None, str, str]] = field(default_factory=dict)

    def __bool__(self) -> bool:
        return bool(self.policies)

    def selecting(self, pod: PodFacts, direction: Direction) -> list[Policy]:
        """The policies that isolate the pod in that direction."""
        found = self.policies.get(pod.namespace, ())
        return [policy for policy in found if direction in policy.rules and policy.pods.matches(pod.labels)]


def understand(policy: NetworkPolicy) -> Policy:
    """The policy with its selectors, ranges and ports parsed. Raises ValueError naming what cannot be understood."""
    spec, namespace = policy.spec, policy.namespace
    types = spec.policy_types or (["Ingress", "Egress"] if spec.egress else ["Ingress"])
    rules: dict[Direction, tuple[Rule, ...]] = {}
    if "Ingress" in types:
        rules["ingress"] = tuple(_rule(namespace, rule.from_, rule.ports) for rule in spec.ingress)
    if "Egress" in types:
        rules["egress"] = tuple(_rule(namespace, rule.to, rule.ports) for rule in spec.egress)
    return Policy(policy.key, namespace, from_label_selector(spec.pod_selector), rules)


def closed(policy: NetworkPolicy) -> Policy:
    """The policy that allows nothing, to every pod of the namespace, in the place of one that is not understood."""
    return Policy(policy.key, policy.namespace, EVERYTHING, dict.fromkeys(DIRECTIONS, ()))


def plan(policies: Iterable[Policy]) -> Plan:
    """The plan for a set of policies."""
    by_namespace: dict[str, tuple[Policy, ...]] = {}
    peers: dict[str, PodPeer] = {}
    named: dict[str, tuple[PodPeer | None, str, str]] = {}
    for policy in sorted(policies, key=lambda policy: policy.key):
        by_namespace[policy.namespace] = (*by_namespace.get(policy.namespace, ()), policy)
        for direction, rules in policy.rules.items():
            for rule in rules:
                pod_peers = [peer for peer in rule.peers or () if isinstance(peer, PodPeer)]
                peers |= {peer_set(peer): peer for peer in pod_peers}
                if direction == "egress":
                    names = [port for port in rule.ports or () if port.name]
                    targets = pod_peers if rule.peers is not None and not _has_block(rule) else [*pod_peers, None]
                    named |= {
                        named_set(peer, port): (peer, port.name, port.protocol) for peer in targets for port in names
                    }
    return Plan(by_namespace, peers, named)


def plan_rules(plan: Plan) -> Contribution:
    """What the policies themselves add to the table: the sets."""
    sets = {name: f"set {name} {{ type ipv4_addr; }}" for name in plan.peers}
    sets |= {name: f"set {name} {{ type ipv4_addr . inet_proto . inet_service; }}" for name in plan.named}
    return Contribution(sets=sets)


def pod_rules(plan: Plan, pod: PodFacts, namespaces: Mapping[str, Mapping[str, str]]) -> Contribution:
    """What one pod adds to the table: itself to the peers it belongs to and, if it runs here, its isolation."""
    result = Contribution()
    for name, peer in plan.peers.items():
        if peer.matches(pod, namespaces):
            result.elements[name, pod.address] = ""
    for name, (target, port, protocol) in plan.named.items():
        number = pod.ports.get((port, protocol))
        if number is not None and (target is None or target.matches(pod, namespaces)):
            result.elements[name, f"{pod.address} . {protocol} . {number}"] = ""
    if pod.local:
        for direction in DIRECTIONS:
            policies = plan.selecting(pod, direction)
            if policies:
                rules = chain(policies, direction, pod.ports, family_of(pod.address))
                name = f"{direction}_{_digest(*rules)}"
                result.chains[name] = rules
                result.elements[direction, pod.address] = f"jump {name}"
                result.elements["isolated", pod.address] = ""
    return result


def chain(
    policies: Sequence[Policy], direction: Direction, ports: Mapping[tuple[str, str], int], family: str = IPV4
) -> tuple[str, ...]:
    """The rules of the chain for a pod that these policies isolate and whose named ports these are.

    A range of the other family matches no packet of the pod's address.
    """
    lines: dict[str, None] = {}
    for policy in policies:
        for rule in policy.rules[direction]:
            for peer in rule.peers if rule.peers is not None else (None,):
                if isinstance(peer, BlockPeer) and family_of(peer.cidr) != family:
                    continue
                for port in rule.ports if rule.ports is not None else (None,):
                    line = _line(direction, peer, port, ports)
                    if line is not None:
                        lines[line] = None
    return (*lines, f"goto deny_{direction}")


def peer_set(peer: PodPeer) -> str:
    """The name of the set with the addresses of the peer's pods."""
    return f"peers_{_digest(*_describe(peer))}"


def named_set(peer: PodPeer | None, port: Port) -> str:
    """The name of the set with address, protocol and number of that named port of the peer's pods (None: all pods)."""
    return f"ports_{_digest(*_describe(peer), port.name, port.protocol)}"


def _line(
    direction: Direction, peer: Peer | None, port: Port | None, ports: Mapping[tuple[str, str], int]
) -> str | None:
    side = "saddr" if direction == "ingress" else "daddr"
    parts = []
    if isinstance(peer, BlockPeer):
        parts.append(f"ip {side} {peer.cidr}" if peer.cidr not in _EVERYWHERE else "")
        parts += [f"ip {side} != {{ {', '.join(peer.without)} }}"] if peer.without else []
    if port is not None and port.name and direction == "egress":
        target = peer if isinstance(peer, PodPeer) else None
        parts.append(f"ip daddr . meta l4proto . th dport @{named_set(target, port)}")
    else:
        if isinstance(peer, PodPeer):
            parts.append(f"ip {side} @{peer_set(peer)}")
        if port is not None:
            first = ports.get((port.name, port.protocol)) if port.name else port.first
            if first is None:
                return None  # the pod has no port of that name
            parts.append(f"meta l4proto {port.protocol}")
            if first:
                last = first if port.name else port.last
                parts.append(f"th dport {first}" if first == last else f"th dport {first}-{last}")
    return " ".join([*filter(None, parts), "return"])


def _rule(namespace: str, peers: Sequence[NetworkPolicyPeer], ports: Sequence[NetworkPolicyPort]) -> Rule:
    return Rule(
        tuple(_peer(namespace, peer) for peer in peers) if peers else None,
        tuple(_port(port) for port in ports) if ports else None,
    )


def _peer(namespace: str, peer: NetworkPolicyPeer) -> Peer:
    if peer.ip_block is not None:
        block = ip_network(peer.ip_block.cidr, strict=False)
        without = tuple(str(ip_network(cidr, strict=False)) for cidr in peer.ip_block.except_)
        return BlockPeer(str(block), without)
    pods = EVERYTHING if peer.pod_selector is None else from_label_selector(peer.pod_selector)
    if peer.namespace_selector is None:
        return PodPeer(namespace, None, pods)
    return PodPeer("", from_label_selector(peer.namespace_selector), pods)


def _port(port: NetworkPolicyPort) -> Port:
    protocol = (port.protocol or "TCP").lower()
    if port.port is None:
        return Port(protocol, 0, 0, "")
    if isinstance(port.port, str):
        return Port(protocol, 0, 0, port.port)
    return Port(protocol, port.port, port.end_port or port.port, "")


def _has_block(rule: Rule) -> bool:
    return any(isinstance(peer, BlockPeer) for peer in rule.peers or ())


def _describe(peer: PodPeer | None) -> tuple[str, ...]:
    if peer is None:
        return ("any",)
    pods = "nothing" if peer.pods.nothing else str(peer.pods)
    return (peer.namespace, "-" if peer.namespaces is None else f"in {peer.namespaces}", pods)


def _digest(*parts: str) -> str:
    return hashlib.sha256("\0".join(parts).encode()).hexdigest()[:16]
