"""Annotations and labels by which a Deployment and its ReplicaSets keep a rollout's state, as kubectl reads them."""

from __future__ import annotations

import math

from pilothouse.kinds.apps.deployment import Deployment
from pilothouse.kinds.apps.replica_set import ReplicaSet

REVISION = "deployment.kubernetes.io/revision"
REVISION_HISTORY = "deployment.kubernetes.io/revision-history"
DESIRED_REPLICAS = "deployment.kubernetes.io/desired-replicas"
MAX_REPLICAS = "deployment.kubernetes.io/max-replicas"
TEMPLATE_HASH = "pod-template-hash"

_NOT_COPIED = frozenset(
    {
        "kubectl.kubernetes.io/last-applied-configuration",
        REVISION,
        REVISION_HISTORY,
        DESIRED_REPLICAS,
        MAX_REPLICAS,
        "deprecated.deployment.rollback.to",
    }
)


def revision(replica_set: ReplicaSet) -> int:
    try:
        return int(replica_set.metadata.annotations.get(REVISION, "0"))
    except ValueError:
        return 0


def size(deployment: Deployment) -> int:
    """The replicas wanted."""
    replicas = deployment.spec.replicas
    return 1 if replicas is None else replicas


def set_size(replica_set: ReplicaSet) -> int:
    replicas = replica_set.spec.replicas
    return 1 if replicas is None else replicas


def bounds(deployment: Deployment) -> tuple[int, int]:
    """maxSurge and maxUnavailable as pods: surge rounds up, unavailable down; both zero becomes one unavailable."""
    if deployment.spec.strategy.type != "RollingUpdate":
        return 0, 0
    rolling = deployment.spec.strategy.rolling_update
    surge = rolling.max_surge if rolling and rolling.max_surge is not None else "25%"
    unavailable = rolling.max_unavailable if rolling and rolling.max_unavailable is not None else "25%"
    replicas = size(deployment)
    most_surge = _share(surge, replicas, math.ceil)
    most_unavailable = _share(unavailable, replicas, math.floor)
    if not most_surge and not most_unavailable:
        most_unavailable = 1
    return most_surge, min(most_unavailable, replicas)


def _share(value: int | str, whole: int, rounding: object) -> int:
    if isinstance(value, int):
        return value
    number = float(value.rstrip("%") or 0) * whole / 100
    return math.ceil(number) if rounding is math.ceil else math.floor(number)


def copied(deployment: Deployment) -> dict[str, str]:
    """The Deployment's annotations that its ReplicaSets carry too."""
    return {key: value for key, value in deployment.metadata.annotations.items() if key not in _NOT_COPIED}


def size_annotations(deployment: Deployment) -> dict[str, str]:
    replicas = size(deployment)
    return {DESIRED_REPLICAS: str(replicas), MAX_REPLICAS: str(replicas + bounds(deployment)[0])}


def desired_before(replica_set: ReplicaSet) -> int | None:
    return _number(replica_set.metadata.annotations.get(DESIRED_REPLICAS))


def most_before(replica_set: ReplicaSet) -> int | None:
    return _number(replica_set.metadata.annotations.get(MAX_REPLICAS))


def _number(text: str | None) -> int | None:
    try:
        return int(text) if text is not None else None
    except ValueError:
        return None
