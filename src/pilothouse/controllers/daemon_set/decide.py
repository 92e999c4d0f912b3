"""What a DaemonSet needs next, decided from one snapshot. Pure.

First every node gets the pods it should have and loses the others; when nothing of that is left to do or awaited, a
rolling update replaces pods of older revisions. Rules are upstream's.
"""

from __future__ import annotations

import datetime as dt
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from pilothouse.controllers.daemon_set.placement import Eligible, Placement, node_of
from pilothouse.controllers.daemon_set.plan import Delete, Plan
from pilothouse.controllers.daemon_set.status import status_of
from pilothouse.controllers.pods import available_in, is_ready, is_terminal
from pilothouse.controllers.revisions import HASH, Create, newest, surplus
from pilothouse.kinds.apps.controller_revision import ControllerRevision
from pilothouse.kinds.apps.daemon_set import DaemonSet
from pilothouse.kinds.core.node import Node
from pilothouse.kinds.core.pod import Pod


@dataclass(frozen=True, slots=True)
class Snapshot:
    """`pods` and `revisions` are the set's own. `held` are ended pods, by name, whose replacement has to wait for so
    many seconds; `may_scale` is False while pods made or deleted before are not yet seen."""

    daemon_set: DaemonSet
    pods: Sequence[Pod]
    nodes: Sequence[Node]
    revisions: Sequence[ControllerRevision]
    now: dt.datetime
    held: Mapping[str, float] = field(default_factory=dict)
    may_scale: bool = True


@dataclass(frozen=True, slots=True)
class OnNode:
    """A node with the set's pods on it, oldest first."""

    name: str
    eligible: Eligible
    pods: list[Pod]

    @property
    def living(self) -> list[Pod]:
        return [pod for pod in self.pods if pod.metadata.deletion_timestamp is None and not is_terminal(pod)]


def decide(snapshot: Snapshot) -> Plan:
    """The next step. Applied again and again on fresh snapshots it ends at `nothing`."""
    daemon_set = snapshot.daemon_set
    name, write = newest(daemon_set, daemon_set.spec.template, snapshot.revisions, daemon_set.status.collision_count)
    digest = _digest(name, write, snapshot.revisions)
    nodes, homeless = _by_node(snapshot)
    create: list[str] = []
    delete: list[Delete] = []
    if daemon_set.metadata.deletion_timestamp is None and snapshot.may_scale:
        create, delete = _manage(snapshot, nodes, digest)
        delete += [Delete(pod, "its node is gone") for pod in homeless]
        if not create and not delete and daemon_set.spec.update_strategy.type == "RollingUpdate":
            create, delete = _roll(snapshot, nodes, digest)
    status, waits = status_of(daemon_set, nodes, digest, snapshot.now)
    live = {name, *(f"{daemon_set.name}-{pod.metadata.labels.get(HASH)}" for pod in snapshot.pods)}
    forget = surplus(snapshot.revisions, live, daemon_set.spec.revision_history_limit) if write is None else []
    waits += [seconds for seconds in snapshot.held.values() if seconds > 0]
    return Plan(write, digest, create, delete, status, forget, min(waits) if waits else None)


def _digest(name: str, write: object, revisions: Sequence[ControllerRevision]) -> str:
    """The value of the pods' hash label for the revision of that name."""
    if isinstance(write, Create):
        digest: str = write.tree["metadata"]["labels"][HASH]
        return digest
    return next(revision.metadata.labels.get(HASH, "") for revision in revisions if revision.name == name)


def _by_node(snapshot: Snapshot) -> tuple[list[OnNode], list[Pod]]:
    """Every node with its pods, and unbound pods whose node is gone."""
    by_node: dict[str, list[Pod]] = {}
    for pod in sorted(snapshot.pods, key=lambda pod: (pod.metadata.creation_timestamp or "", pod.name)):
        by_node.setdefault(node_of(pod), []).append(pod)
    placement = Placement(snapshot.daemon_set)
    nodes = [
        OnNode(node.name, placement.judge(node), by_node.pop(node.name, []))
        for node in sorted(snapshot.nodes, key=lambda node: node.name)
    ]
    left = [pod for pods in by_node.values() for pod in pods]
    return nodes, [pod for pod in left if not pod.spec.node_name and pod.metadata.deletion_timestamp is None]


def _manage(snapshot: Snapshot, nodes: list[OnNode], digest: str) -> tuple[list[str], list[Delete]]:
    """One pod for each eligible node (with a surge an old and a new one), none for the others."""
    create: list[str] = []
    delete: list[Delete] = []
    surge, _ = _bounds(snapshot, nodes)
    for node in nodes:
        going = [pod for pod in node.pods if pod.metadata.deletion_timestamp is None]
        if not node.eligible.stay:
            delete += [Delete(pod, f"it does not belong on {node.name}") for pod in going]
            continue
        for pod in going:
            if is_terminal(pod) and snapshot.held.get(pod.name, 0.0) <= 0:
                delete.append(Delete(pod, "it has ended", pod.status.phase))
        if node.eligible.run and not node.pods:
            create.append(node.name)
        delete += _surplus(snapshot, node.living, digest, surge > 0)
    return create, delete


def _surplus(snapshot: Snapshot, living: list[Pod], digest: str, surging: bool) -> list[Delete]:
    if len(living) < 2:
        return []
    if not surging:
        return [Delete(pod, "it is one too many") for pod in living[1:]]
    new = [pod for pod in living if pod.metadata.labels.get(HASH) == digest]
    old = [pod for pod in living if pod.metadata.labels.get(HASH) != digest]
    delete = [Delete(pod, "it is one too many") for pod in [*new[1:], *old[1:]]]
    if new and old and (not is_ready(old[0]) or _available(snapshot, new[0])):
        delete.append(Delete(old[0], "a new one has taken its place"))
    return delete


def _bounds(snapshot: Snapshot, nodes: list[OnNode]) -> tuple[int, int]:
    """maxSurge and maxUnavailable as pods, both rounded up; both zero becomes one unavailable."""
    strategy = snapshot.daemon_set.spec.update_strategy
    if strategy.type != "RollingUpdate":
        return 0, 0
    desired = sum(node.eligible.run for node in nodes)
    rolling = strategy.rolling_update
    surge = _share(rolling.max_surge if rolling is not None else None, 0, desired)
    unavailable = _share(rolling.max_unavailable if rolling is not None else None, 1, desired)
    return surge, unavailable if surge or unavailable else 1


def _share(value: int | str | None, default: int, whole: int) -> int:
    if value is None:
        return default
    return value if isinstance(value, int) else math.ceil(int(value.rstrip("%") or 0) * whole / 100)


def _roll(snapshot: Snapshot, nodes: list[OnNode], digest: str) -> tuple[list[str], list[Delete]]:
    """The old pods to delete, or with a surge the nodes that get a new pod beside the old one."""
    surge, unavailable = _bounds(snapshot, nodes)
    why = f"it is to become {digest}"
    broken: list[OnNode] = []
    sound: list[OnNode] = []
    used = 0
    for node in nodes:
        if not node.eligible.run:
            continue
        new = [pod for pod in node.living if pod.metadata.labels.get(HASH) == digest]
        old = [pod for pod in node.living if pod.metadata.labels.get(HASH) != digest]
        if old and not new:
            if not _available(snapshot, old[0]):
                broken.append(node)
                used += not surge
            else:
                sound.append(node)
        elif surge and not old:
            continue
        elif not new or not _available(snapshot, new[0]):
            used += 1
    # What is not available anyhow costs nothing to replace.
    if surge:
        return [node.name for node in [*broken, *sound[: max(0, surge - used)]]], []
    return [], [Delete(node.living[0], why) for node in [*broken, *sound[: max(0, unavailable - used)]]]


def _available(snapshot: Snapshot, pod: Pod) -> bool:
    return available_in(pod, snapshot.daemon_set.spec.min_ready_seconds, snapshot.now) == 0
