"""What a node remembers of flows: which were seen, which were denied and by whom. Pure; bounded.

Flows are kept by who talks to whom, not by connection: pods of one workload (same namespace, same labels but for those
that differ from pod to pod) count as one. Times are seconds since the epoch.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, TypeVar

from pilothouse.kinds.workload_labels import workload_labels
from pilothouse.linux.nflog import Packet
from pilothouse.network.pods import PodFacts
from pilothouse.network.policy import Direction, Plan

MOST_FLOWS = 8192
MOST_DENIALS = 4096
K = TypeVar("K")
Labels = tuple[tuple[str, str], ...]


@dataclass(frozen=True, slots=True)
class End:
    """One end of a flow: a workload's pods (`namespace`, `labels`), or an address that is no known pod's."""

    namespace: str = ""
    labels: Labels = ()
    address: str = ""

    def tree(self) -> dict[str, Any]:
        if not self.namespace:
            return {"address": self.address}
        return {"namespace": self.namespace, "labels": dict(self.labels)}


def end_from(tree: Mapping[str, Any]) -> End:
    """The end that a tree describes."""
    labels = tuple(sorted((tree.get("labels") or {}).items()))
    return End(tree.get("namespace", ""), labels, tree.get("address", "") if not tree.get("namespace") else "")


@dataclass(slots=True)
class Seen:
    """When, how often (at most once a minute for each pair of pods), and between which pods or addresses last."""

    first: float
    last: float
    count: int = 0
    source: str = ""
    destination: str = ""
    policies: tuple[str, ...] = ()


FlowKey = tuple[End, End, str, int]
"""Source, destination, protocol, port."""
DenialKey = tuple[str, End, End, str, int]
"""Direction in which it was denied, and the flow's key."""


@dataclass(slots=True)
class Record:
    """`dropped` counts what was forgotten for want of room; `lost` how often packets came faster than they are read."""

    flows: OrderedDict[FlowKey, Seen] = field(default_factory=OrderedDict)
    denials: OrderedDict[DenialKey, Seen] = field(default_factory=OrderedDict)
    policies: dict[str, int] = field(default_factory=dict)
    since: float = 0.0
    dropped: int = 0
    lost: int = 0

    def add(self, packet: Packet, pods: Mapping[str, PodFacts], plan: Plan, now: float) -> None:
        """Takes note of a packet that the table told of."""
        source, destination = _end(pods, packet.source), _end(pods, packet.destination)
        names = _name(pods, packet.source), _name(pods, packet.destination)
        flow: FlowKey = (source, destination, packet.protocol, packet.port)
        if packet.prefix == "seen":
            self.dropped += _note(self.flows, flow, names, now, MOST_FLOWS)
            return
        direction: Direction = "ingress" if packet.prefix == "ingress" else "egress"
        subject = pods.get(packet.destination if direction == "ingress" else packet.source)
        policies = tuple(policy.key for policy in plan.selecting(subject, direction)) if subject is not None else ()
        key: DenialKey = (direction, *flow)
        self.dropped += _note(self.denials, key, names, now, MOST_DENIALS)
        self.denials[key].policies = policies
        for policy in policies:
            self.policies[policy] = self.policies.get(policy, 0) + 1

    def keep_policies(self, known: Iterable[str]) -> None:
        """Forgets the counts of policies that are gone."""
        self.policies = {key: self.policies[key] for key in self.policies.keys() & set(known)}

    def tree(self) -> dict[str, Any]:
        """All of it, for JSON; the latest last."""
        return {
            "since": self.since,
            "flows": [_tree(key, seen) for key, seen in self.flows.items()],
            "denied": [{"direction": key[0], **_tree(key[1:], seen)} for key, seen in self.denials.items()],
            "policies": self.policies,
            "dropped": self.dropped,
            "lost": self.lost,
        }


def load(tree: Mapping[str, Any]) -> Record:
    """The record that a tree describes. Raises KeyError, TypeError or ValueError for one that is not whole."""
    record = Record(since=float(tree["since"]), dropped=int(tree["dropped"]), lost=int(tree["lost"]))
    for item in tree["flows"]:
        record.flows[flow_key(item)] = _seen(item)
    for item in tree["denied"]:
        record.denials[(str(item["direction"]), *flow_key(item))] = _seen(item)
    record.policies = {str(key): int(count) for key, count in tree["policies"].items()}
    return record


def flow_key(item: Mapping[str, Any]) -> FlowKey:
    """The key of a flow's tree."""
    return end_from(item["from"]), end_from(item["to"]), str(item["protocol"]), int(item["port"])


def _seen(item: Mapping[str, Any]) -> Seen:
    return Seen(
        float(item["first"]),
        float(item["last"]),
        int(item["count"]),
        str(item["source"]),
        str(item["destination"]),
        tuple(item.get("policies", ())),
    )


def _tree(key: FlowKey, seen: Seen) -> dict[str, Any]:
    source, destination, protocol, port = key
    tree: dict[str, Any] = {
        "from": source.tree(),
        "to": destination.tree(),
        "protocol": protocol,
        "port": port,
        "source": seen.source,
        "destination": seen.destination,
        "first": seen.first,
        "last": seen.last,
        "count": seen.count,
    }
    if seen.policies:
        tree["policies"] = list(seen.policies)
    return tree


def _note(kept: OrderedDict[K, Seen], key: K, names: tuple[str, str], now: float, most: int) -> int:
    """Counts one; returns how many had to be forgotten."""
    seen = kept.get(key)
    if seen is None:
        seen = kept[key] = Seen(now, now)
    seen.last, seen.count = now, seen.count + 1
    seen.source, seen.destination = names
    kept.move_to_end(key)
    if len(kept) <= most:
        return 0
    kept.popitem(last=False)
    return 1


def _end(pods: Mapping[str, PodFacts], address: str) -> End:
    pod = pods.get(address)
    return End(pod.namespace, tuple(workload_labels(pod.labels).items())) if pod is not None else End(address=address)


def _name(pods: Mapping[str, PodFacts], address: str) -> str:
    pod = pods.get(address)
    return pod.key if pod is not None else address
