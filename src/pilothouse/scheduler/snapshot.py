"""The scheduler's picture of the cluster: nodes with what is taken on them, pods, volumes. No I/O.

Kept up to date by change instead of being copied for each pod; since a decision never waits, it sees one state. Pods
that are being bound are counted already (assumed), so that many decisions in a row never give the same room twice.
"""

from __future__ import annotations

import contextlib
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Protocol

import msgspec

from pilothouse.kinds.core.node import Node
from pilothouse.kinds.core.persistent_volume import PersistentVolume
from pilothouse.kinds.core.persistent_volume_claim import PersistentVolumeClaim
from pilothouse.kinds.core.pod import Pod
from pilothouse.kinds.policy.pod_disruption_budget import PodDisruptionBudget
from pilothouse.kinds.storage.csi_driver import CSIDriver
from pilothouse.kinds.storage.csi_node import CSINode
from pilothouse.kinds.storage.csi_storage_capacity import CSIStorageCapacity
from pilothouse.kinds.storage.storage_class import StorageClass
from pilothouse.scheduler.pod_info import Amounts, PodInfo, amounts


@dataclass(slots=True)
class NodeInfo:
    """A node and the pods on it. `node` is None while only its pods are known."""

    name: str
    node: Node | None = None
    allocatable: Amounts = field(default_factory=dict)
    requested: Amounts = field(default_factory=dict)
    scored: Amounts = field(default_factory=lambda: {"cpu": 0, "memory": 0})
    pods: dict[str, PodInfo] = field(default_factory=dict)
    images: dict[str, int] = field(default_factory=dict)
    """Sizes in bytes of the images present, by each of their names."""

    @property
    def labels(self) -> Mapping[str, str]:
        return self.node.metadata.labels if self.node is not None else {}

    def update(self, node: Node | None) -> None:
        self.node = node
        self.allocatable = amounts(node.status.allocatable) if node is not None else {}
        self.images = {}
        for image in node.status.images if node is not None else ():
            for name in image.names:
                self.images[name] = image.size_bytes

    def copy(self) -> NodeInfo:
        """Another with the same pods, to try what becomes of it without some."""
        return NodeInfo(
            self.name,
            self.node,
            self.allocatable,
            dict(self.requested),
            dict(self.scored),
            dict(self.pods),
            self.images,
        )

    def add(self, pod: PodInfo) -> None:
        self.pods[pod.key] = pod
        self._count(pod, 1)

    def remove(self, pod: PodInfo) -> None:
        del self.pods[pod.key]
        self._count(pod, -1)

    def _count(self, pod: PodInfo, sign: int) -> None:
        for resource, value in pod.requests.items():
            self.requested[resource] = self.requested.get(resource, 0) + sign * value
        for resource, value in pod.scored.items():
            self.scored[resource] += sign * value


@dataclass(frozen=True, slots=True)
class Storage:
    """Claims by key, volumes by name, classes by name; what nodes say of their CSI drivers, by the node's name; drivers
    by name, and where provisioners say that there is room."""

    claims: Mapping[str, PersistentVolumeClaim] = field(default_factory=dict)
    volumes: Mapping[str, PersistentVolume] = field(default_factory=dict)
    classes: Mapping[str, StorageClass] = field(default_factory=dict)
    csi_nodes: Mapping[str, CSINode] = field(default_factory=dict)
    drivers: Mapping[str, CSIDriver] = field(default_factory=dict)
    capacities: Sequence[CSIStorageCapacity] = ()


class Follower(Protocol):
    """What is told of changes as they are made, to keep something of its own in step."""

    def pod_changed(self, node: str, pod: PodInfo, sign: int) -> None:
        """A pod came to a node (1) or went from it (-1)."""

    def node_changed(self, node: str) -> None:
        """A node's labels, taints, capacity or images are others."""

    def nodes_changed(self) -> None:
        """A node came or went."""

    def namespaces_changed(self) -> None: ...


_NONE: Mapping[str, int] = MappingProxyType({})


class Snapshot:
    """`namespaces` holds each namespace's labels; `storage` and `budgets` are replaced by whoever reads them."""

    def __init__(self) -> None:
        self.follower: Follower | None = None
        self._sorted: list[NodeInfo] | None = None
        self._nodes: dict[str, NodeInfo] = {}
        self._where: dict[str, str] = {}
        self._assumed: set[str] = set()
        self._siblings: dict[str, Counter[str]] = {}
        self._priorities: Counter[int] = Counter()
        self._nominated: dict[str, tuple[PodInfo, str]] = {}
        self.namespaces: dict[str, Mapping[str, str]] = {}
        self.storage = Storage()
        self.budgets: Sequence[PodDisruptionBudget] = ()
        self.repelling: dict[str, PodInfo] = {}
        """Placed pods with required anti-affinity, whose terms bind those that come later."""
        self.preferring: dict[str, PodInfo] = {}
        """Placed pods with preferred terms, which draw or push those that come later."""

    def nodes(self) -> list[NodeInfo]:
        """The nodes that exist, by name. Not to be changed by the caller."""
        if self._sorted is None:
            self._sorted = [info for _, info in sorted(self._nodes.items()) if info.node is not None]
        return self._sorted

    def node(self, name: str) -> NodeInfo | None:
        info = self._nodes.get(name)
        return info if info is not None and info.node is not None else None

    def node_of(self, pod_key: str) -> NodeInfo | None:
        name = self._where.get(pod_key)
        return self._nodes.get(name) if name is not None else None

    def siblings(self, owner: str) -> Mapping[str, int]:
        """How many pods of a controller, without those being deleted, are on each node that has any."""
        return self._siblings.get(owner, _NONE)

    def has_lesser(self, priority: int) -> bool:
        """Whether any placed pod is less important than that."""
        return any(other < priority for other in self._priorities)

    def placed(self) -> Iterable[tuple[NodeInfo, PodInfo]]:
        """Every pod with the node it is on."""
        for info in self._nodes.values():
            for pod in info.pods.values():
                yield info, pod

    def put_node(self, node: Node) -> None:
        info = self._info(node.name)
        before = info.node
        info.update(node)
        if before is None:
            self._node_came_or_went()
        elif self.follower is not None and _matters(before) != _matters(node):
            self.follower.node_changed(node.name)

    def remove_node(self, name: str) -> None:
        info = self._nodes.get(name)
        if info is not None:
            info.update(None)
            self._drop_if_empty(info)
            self._node_came_or_went()

    def _node_came_or_went(self) -> None:
        self._sorted = None
        if self.follower is not None:
            self.follower.nodes_changed()

    def put_namespace(self, name: str, labels: Mapping[str, str] | None) -> None:
        """The labels of a namespace; None when it is gone."""
        if labels is None:
            self.namespaces.pop(name, None)
        else:
            self.namespaces[name] = labels
        if self.follower is not None:
            self.follower.namespaces_changed()

    def put_pod(self, pod: PodInfo, node: str) -> None:
        """A pod that is bound to `node`; takes the place of an assumption."""
        self._assumed.discard(pod.key)
        self.withdraw(pod.key)
        self._place(pod, node)

    def assume(self, pod: PodInfo, node: str) -> None:
        """A pod about to be bound to `node`."""
        self._place(pod, node)
        self._assumed.add(pod.key)

    def confirm(self, pod: Pod) -> bool:
        """The pod was bound as assumed and is what it was then: nothing has to be counted anew. False if not so."""
        info = self.node_of(pod.key)
        assumed = info.pods[pod.key].pod if info is not None and pod.key in self._assumed else None
        if assumed is None or info is None or pod.spec.node_name != info.name:
            return False
        same = msgspec.structs.replace(pod.spec, node_name=assumed.spec.node_name) == assumed.spec
        if not same or pod.metadata.uid != assumed.metadata.uid or pod.metadata.labels != assumed.metadata.labels:
            return False
        self._assumed.discard(pod.key)
        self.withdraw(pod.key)
        return True

    def forget(self, pod_key: str) -> None:
        """Takes an assumption back; a pod that turned out bound stays."""
        if pod_key in self._assumed:
            self.remove_pod(pod_key)

    def is_assumed(self, pod_key: str) -> bool:
        return pod_key in self._assumed

    def nominate(self, pod: PodInfo, node: str) -> None:
        """Keeps the room on `node` that others made for the pod from those less important."""
        self._nominated[pod.key] = (pod, node)

    def withdraw(self, pod_key: str) -> None:
        """The pod needs no room kept any more."""
        self._nominated.pop(pod_key, None)

    @contextlib.contextmanager
    def with_nominated(self, pod: PodInfo) -> Iterator[None]:
        """For the time of a decision about `pod`, pods of at least its priority stand where room is kept for them."""
        guests = [
            (guest, node)
            for guest, node in self._nominated.values()
            if guest.key != pod.key and guest.priority >= pod.priority and guest.key not in self._where
        ]
        for guest, node in guests:
            self._place(guest, node)
        try:
            yield
        finally:
            for guest, _ in guests:
                self.remove_pod(guest.key)

    def remove_pod(self, pod_key: str) -> None:
        self._assumed.discard(pod_key)
        name = self._where.pop(pod_key, None)
        if name is not None:
            self._displace(pod_key, name)
            self._drop_if_empty(self._nodes[name])

    def _place(self, pod: PodInfo, node: str) -> None:
        former = self._where.get(pod.key)
        if former is not None:
            self._displace(pod.key, former)
        self._info(node).add(pod)
        self._where[pod.key] = node
        self._count_sibling(pod, node, 1)
        self._priorities[pod.priority] += 1
        if pod.anti_affinity:
            self.repelling[pod.key] = pod
        if pod.preferred:
            self.preferring[pod.key] = pod
        if self.follower is not None:
            self.follower.pod_changed(node, pod, 1)

    def _displace(self, pod_key: str, node: str) -> None:
        info = self._nodes[node]
        pod = info.pods[pod_key]
        info.remove(pod)
        self._count_sibling(pod, node, -1)
        self._priorities[pod.priority] -= 1
        if not self._priorities[pod.priority]:
            del self._priorities[pod.priority]
        self.repelling.pop(pod_key, None)
        self.preferring.pop(pod_key, None)
        if self.follower is not None:
            self.follower.pod_changed(node, pod, -1)

    def _count_sibling(self, pod: PodInfo, node: str, sign: int) -> None:
        if not pod.owner or pod.pod.metadata.deletion_timestamp is not None:
            return
        counts = self._siblings.setdefault(pod.owner, Counter())
        counts[node] += sign
        if not counts[node]:
            del counts[node]
        if not counts:
            del self._siblings[pod.owner]

    def _info(self, name: str) -> NodeInfo:
        info = self._nodes.get(name)
        if info is None:
            info = self._nodes[name] = NodeInfo(name)
        return info

    def _drop_if_empty(self, info: NodeInfo) -> None:
        if info.node is None and not info.pods:
            self._nodes.pop(info.name, None)


def _matters(node: Node) -> tuple[object, ...]:
    """What of a node a decision looks at; a heartbeat changes none of it."""
    return node.metadata.labels, node.metadata.annotations, node.spec, node.status.allocatable, node.status.images
