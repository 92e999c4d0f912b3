"""How large each ReplicaSet of a Deployment should be at this step of a rollout. Pure arithmetic.

Laws held at every step: there are never more pods than replicas + maxSurge unless there were already, and available
pods are never taken below replicas - maxUnavailable. Upstream counts what ReplicaSets are asked for; pods that one of
them has yet to remove count here too, so that a set grows only into room that is there.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

from pilothouse.controllers.deployment.annotations import bounds, desired_before, most_before, set_size, size
from pilothouse.kinds.apps.deployment import Deployment
from pilothouse.kinds.apps.replica_set import ReplicaSet

Sizes = dict[str, int]
"""New sizes by ReplicaSet name; those not named stay as they are."""


def new_set_size(deployment: Deployment, new: ReplicaSet | None, all_sets: Sequence[ReplicaSet]) -> int:
    """The size the current template's ReplicaSet may have now."""
    wanted, current = size(deployment), set_size(new) if new is not None else 0
    if deployment.spec.strategy.type != "RollingUpdate" or current >= wanted:
        return wanted
    return current + min(room(wanted + bounds(deployment)[0], all_sets), wanted - current)


def room(most: int, sets: Sequence[ReplicaSet]) -> int:
    """How many pods more there may be: none while a set has not said what its last size has come to."""
    if any(rs.status.observed_generation < rs.metadata.generation for rs in sets):
        return 0
    return max(0, most - sum(max(set_size(rs), rs.status.replicas) for rs in sets))


def old_set_sizes(deployment: Deployment, new: ReplicaSet | None, old_sets: Sequence[ReplicaSet]) -> Sizes:
    """Old ReplicaSets scaled down as far as availability allows: first pods that are not available, then others."""
    total_old = sum(set_size(rs) for rs in old_sets)
    if not total_old:
        return {}
    least = size(deployment) - bounds(deployment)[1]
    new_size = set_size(new) if new is not None else 0
    new_available = new.status.available_replicas if new is not None else 0
    removable = total_old + new_size - least - max(0, new_size - new_available)
    if removable <= 0:
        return {}
    sizes = {rs.name: set_size(rs) for rs in old_sets}
    ordered = sorted(old_sets, key=lambda rs: (rs.metadata.creation_timestamp or "", rs.name))
    for rs in ordered:
        unavailable = max(0, sizes[rs.name] - rs.status.available_replicas)
        cut = min(removable, unavailable)
        sizes[rs.name] -= cut
        removable -= cut
    # The pods cut above were not available, so what is available has not changed.
    spare = sum(rs.status.available_replicas for rs in old_sets) + new_available - least
    for rs in ordered:
        cut = max(0, min(sizes[rs.name], spare, removable))
        sizes[rs.name] -= cut
        spare -= cut
        removable -= cut
    return {rs.name: sizes[rs.name] for rs in ordered if sizes[rs.name] != set_size(rs)}


def is_scaling(deployment: Deployment, sets: Sequence[ReplicaSet]) -> bool:
    """True when `replicas` changed since the active ReplicaSets were last sized."""
    wanted = size(deployment)
    return any(set_size(rs) > 0 and desired_before(rs) not in (None, wanted) for rs in sets)


def scaled_sizes(deployment: Deployment, new: ReplicaSet | None, old_sets: Sequence[ReplicaSet]) -> Sizes:
    """Sizes after `replicas` changed (or while paused), in the middle of a rollout shared out in proportion."""
    sets = [*([new] if new is not None else []), *old_sets]
    active = [rs for rs in sets if set_size(rs) > 0]
    wanted = size(deployment)
    if len(active) <= 1:
        only = active[0] if active else new or _latest(old_sets)
        if only is None:
            return {}
        grown = set_size(only) + room(wanted + bounds(deployment)[0], sets)
        target = min(wanted, max(grown, set_size(only)))
        return {only.name: target} if set_size(only) != target else {}
    if new is not None and _saturated(new, wanted):
        return {rs.name: 0 for rs in active if rs is not new}
    if deployment.spec.strategy.type != "RollingUpdate":
        return {}
    allowed = wanted + bounds(deployment)[0] if wanted else 0
    change = allowed - sum(set_size(rs) for rs in active)
    return _proportional(active, min(change, room(allowed, sets)) if change > 0 else change, wanted, allowed)


def _latest(sets: Sequence[ReplicaSet]) -> ReplicaSet | None:
    return max(sets, key=lambda rs: (rs.metadata.creation_timestamp or "", rs.name), default=None)


def _saturated(new: ReplicaSet, wanted: int) -> bool:
    return set_size(new) == wanted and desired_before(new) == wanted and new.status.available_replicas == wanted


def _proportional(active: list[ReplicaSet], change: int, wanted: int, allowed: int) -> Sizes:
    """Shares `change` pods among the active sets by their sizes; the largest takes what rounding leaves."""
    if not change:
        return {}
    ordered = sorted(active, key=lambda rs: (-set_size(rs), rs.metadata.creation_timestamp or "", rs.name))
    sizes, done = {}, 0
    for rs in ordered:
        share = _fraction(rs, wanted, allowed) if wanted else -set_size(rs)
        left = change - done
        share = max(min(share, left), 0) if change > 0 else min(max(share, left), 0)
        sizes[rs.name] = set_size(rs) + share
        done += share
    largest = ordered[0].name
    sizes[largest] = max(0, sizes[largest] + change - done)
    return {rs.name: sizes[rs.name] for rs in ordered if sizes[rs.name] != set_size(rs)}


def _fraction(rs: ReplicaSet, wanted: int, allowed: int) -> int:
    """How much this set should grow so that its part of the whole stays what it was."""
    before = most_before(rs) or wanted
    return math.floor(set_size(rs) * allowed / before + 0.5) - set_size(rs)
