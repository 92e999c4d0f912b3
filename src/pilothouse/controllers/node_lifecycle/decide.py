"""When a node counts as lost, which taints its conditions ask for, and when its pods must go. Pure."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterable, Sequence

import msgspec

from pilothouse.controllers.conditions import find, is_true
from pilothouse.controllers.pods import is_terminal
from pilothouse.kinds.core.node import Node, Taint
from pilothouse.kinds.core.pod import Pod
from pilothouse.machinery.objects import Obj, parse_timestamp, timestamp
from pilothouse.reconcile.taints import tolerates

GRACE_SECONDS = 40.0
"""A node whose Lease is older than this is unknown."""
NOT_READY = "node.kubernetes.io/not-ready"
UNREACHABLE = "node.kubernetes.io/unreachable"
_UNSCHEDULABLE = "node.kubernetes.io/unschedulable"
_BY_CONDITION = {
    "MemoryPressure": "node.kubernetes.io/memory-pressure",
    "DiskPressure": "node.kubernetes.io/disk-pressure",
    "PIDPressure": "node.kubernetes.io/pid-pressure",
    "NetworkUnavailable": "node.kubernetes.io/network-unavailable",
}
_MANAGED = frozenset({NOT_READY, UNREACHABLE, _UNSCHEDULABLE, *_BY_CONDITION.values()})
_REPORTED = ("Ready", "MemoryPressure", "DiskPressure", "PIDPressure")


def is_ready(node: Node) -> bool:
    return is_true(node.status.conditions, "Ready")


def reported(old: Node, new: Node) -> bool:
    """True if the node itself wrote its Ready condition between the two (what is written here is always Unknown)."""
    before, after = find(old.status.conditions, "Ready"), find(new.status.conditions, "Ready")
    return after is not None and after.status != "Unknown" and after != before


def unknown_conditions(node: Node, now: dt.datetime) -> list[Obj]:
    """Conditions (for a strategic merge) of a node that stopped reporting; empty if it is marked already."""
    ready = find(node.status.conditions, "Ready")
    if ready is not None and ready.status == "Unknown":
        return []
    moment = timestamp(now)
    changed = []
    for type in _REPORTED:
        current = find(node.status.conditions, type)
        if current is None:
            reason, message = "NodeStatusNeverUpdated", "The node never posted its status."
        else:
            reason, message = "NodeStatusUnknown", "The node stopped posting its status."
        changed.append(
            {"type": type, "status": "Unknown", "reason": reason, "message": message, "lastTransitionTime": moment}
        )
    return changed


def wanted_taints(node: Node, now: dt.datetime, *, may_evict: bool) -> list[Taint]:
    """The node's taints as they should be: people's own kept, ours by the node's conditions.

    With `may_evict` False no new NoExecute taint is set; one that is there already for the same reason stays.
    """
    kept = [taint for taint in node.spec.taints if taint.key not in _MANAGED]
    old = {(taint.key, taint.effect): taint for taint in node.spec.taints if taint.key in _MANAGED}
    wanted: list[tuple[str, str]] = []
    ready = find(node.status.conditions, "Ready")
    if ready is None or ready.status == "False":
        wanted += [(NOT_READY, "NoSchedule"), (NOT_READY, "NoExecute")]
    elif ready.status == "Unknown":
        wanted += [(UNREACHABLE, "NoSchedule"), (UNREACHABLE, "NoExecute")]
    wanted += [(key, "NoSchedule") for type, key in _BY_CONDITION.items() if is_true(node.status.conditions, type)]
    if node.spec.unschedulable:
        wanted.append((_UNSCHEDULABLE, "NoSchedule"))
    for key, effect in wanted:
        if effect == "NoExecute" and not may_evict and (key, effect) not in old:
            continue
        kept.append(old.get((key, effect)) or Taint(key=key, effect=effect, time_added=timestamp(now)))
    return kept


def evicts(taints: Sequence[Taint]) -> bool:
    """True if our NoExecute taints are among them."""
    return any(taint.key in (NOT_READY, UNREACHABLE) and taint.effect == "NoExecute" for taint in taints)


def evict_in(pod: Pod, node: Node, now: dt.datetime) -> float | None:
    """Seconds until the pod must leave its node because of NoExecute taints; 0 at once, None never."""
    waits: list[float] = []
    for taint in node.spec.taints:
        if taint.effect != "NoExecute":
            continue
        tolerations = [t for t in pod.spec.tolerations if tolerates(t, taint)]
        if not tolerations:
            return 0.0
        limits = [t.toleration_seconds for t in tolerations if t.toleration_seconds is not None]
        if limits:
            since = parse_timestamp(taint.time_added) if taint.time_added else now
            waits.append(max(0.0, max(0, min(limits)) - (now - since).total_seconds()))
    return min(waits) if waits else None


def readiness(pods: Iterable[Pod], node: Node, *, lost: bool) -> list[tuple[Pod, str]]:
    """Pods of a node whose condition Ready is to be set, and to what.

    A node that is lost says nothing more about its pods, so they count as not ready. Once it is back, those are ready
    again of which it says that their containers are and whose readiness gates are open: it reports what changes, and
    for it nothing has.
    """
    wanted = []
    for pod in pods:
        if pod.metadata.deletion_timestamp is not None or is_terminal(pod):
            continue
        conditions = pod.status.conditions
        ready = find(conditions, "Ready")
        needed = ["ContainersReady", *(gate.condition_type for gate in pod.spec.readiness_gates)]
        if ready is None:
            continue
        if lost and ready.status != "False":
            wanted.append((pod, "False"))
        elif is_ready(node) and ready.status == "False" and all(is_true(conditions, type) for type in needed):
            wanted.append((pod, "True"))
    return wanted


def same_taints(left: Sequence[Taint], right: Sequence[Taint]) -> bool:
    def key(taint: Taint) -> tuple[str, str, str]:
        return taint.key, taint.effect, taint.value

    return sorted(map(key, left)) == sorted(map(key, right))


def taint_tree(taint: Taint) -> Obj:
    tree: Obj = msgspec.to_builtins(taint)
    return tree
