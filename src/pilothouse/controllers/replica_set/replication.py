"""Keeps ReplicationControllers, what came before ReplicaSets, at their size: the same rules, and a selector that is a
plain map of labels."""

from __future__ import annotations

from pilothouse.controllers.context import Context
from pilothouse.controllers.replica_set.controller import Controller
from pilothouse.kinds.apps.replica_set import ReplicaSet, ReplicaSetSpec
from pilothouse.kinds.core.pod import Pod
from pilothouse.kinds.core.replication_controller import ReplicationController
from pilothouse.kinds.view import LabelSelector
from pilothouse.reconcile.queue import work

NAME = "replication-controller"


async def run(context: Context) -> None:
    """Keeps every ReplicationController at its size until cancelled."""
    controller = Controller(context, ReplicationController, as_set)
    await context.informers.synced(ReplicationController, Pod)
    controller.subscribe()
    await work(NAME, controller.queue, controller.reconcile, workers=2)


def as_set(owner: ReplicationController) -> ReplicaSet:
    """The ReplicaSet that wants the same."""
    spec = owner.spec
    return ReplicaSet(
        metadata=owner.metadata,
        spec=ReplicaSetSpec(
            replicas=spec.replicas,
            min_ready_seconds=spec.min_ready_seconds,
            selector=LabelSelector(match_labels=spec.selector) if spec.selector else None,
            template=spec.template,
        ),
        status=owner.status,
    )
