"""Whether policies allow a flow: the answer rule by rule, without nftables. Pure.

Used to find tracked flows that a new policy forbids, and by tests as the plain reading of the policies.
"""

from __future__ import annotations

from collections.abc import Mapping
from ipaddress import ip_address, ip_network
from typing import NamedTuple

from pilothouse.network.pods import PodFacts
from pilothouse.network.policy import BlockPeer, Direction, Peer, Plan, Port, Rule


class Attempt(NamedTuple):
    """A new flow as the forward hook sees it: after services are translated, before masquerade."""

    source: str
    destination: str
    protocol: str
    port: int


def allowed(
    plan: Plan, pods: Mapping[str, PodFacts], namespaces: Mapping[str, Mapping[str, str]], attempt: Attempt
) -> bool:
    """Whether this node's pods' policies let the flow pass; `pods` are those of the cluster by address."""
    source, destination = pods.get(attempt.source), pods.get(attempt.destination)
    sides: tuple[tuple[Direction, PodFacts | None], ...] = (("egress", source), ("ingress", destination))
    for direction, subject in sides:
        if subject is None or not subject.local:
            continue
        policies = plan.selecting(subject, direction)
        if policies and not any(
            rule_matches(rule, direction, attempt, pods, namespaces)
            for policy in policies
            for rule in policy.rules[direction]
        ):
            return False
    return True


def rule_matches(
    rule: Rule,
    direction: Direction,
    attempt: Attempt,
    pods: Mapping[str, PodFacts],
    namespaces: Mapping[str, Mapping[str, str]],
) -> bool:
    """Whether one rule allows the flow."""
    other = attempt.destination if direction == "egress" else attempt.source
    peer_matches = _peer_matches(rule.peers, pods.get(other), other, namespaces)
    return peer_matches and _port_matches(rule.ports, pods.get(attempt.destination), attempt)


def _peer_matches(
    peers: tuple[Peer, ...] | None, pod: PodFacts | None, address: str, namespaces: Mapping[str, Mapping[str, str]]
) -> bool:
    if peers is None:
        return True
    for peer in peers:
        if isinstance(peer, BlockPeer):
            ip = ip_address(address)
            if ip in ip_network(peer.cidr) and not any(ip in ip_network(cidr) for cidr in peer.without):
                return True
        elif pod is not None and peer.matches(pod, namespaces):
            return True
    return False


def _port_matches(ports: tuple[Port, ...] | None, destination: PodFacts | None, attempt: Attempt) -> bool:
    if ports is None:
        return True
    for port in ports:
        if port.protocol != attempt.protocol:
            continue
        if port.name:
            if destination is not None and destination.ports.get((port.name, port.protocol)) == attempt.port:
                return True
        elif not port.first or port.first <= attempt.port <= port.last:
            return True
    return False
