"""How many pods a Deployment says are being deleted."""

from __future__ import annotations

import datetime as dt

import msgspec
import pytest

from pilothouse.controllers.deployment.status import Rollout, status_of
from pilothouse.kinds.apps.deployment import Deployment
from pilothouse.kinds.apps.replica_set import ReplicaSet
from pilothouse.machinery.objects import Obj

NOW = dt.datetime(2026, 1, 1, 12, tzinfo=dt.UTC)


def replica_set(terminating: int | None) -> ReplicaSet:
    status: Obj = {} if terminating is None else {"terminatingReplicas": terminating}
    return msgspec.convert({"metadata": {"name": "rs"}, "spec": {"replicas": 1}, "status": status}, ReplicaSet)


@pytest.mark.parametrize(
    ("before", "of_sets", "after"),
    [
        (None, [2, 1], 3),
        (3, [0, 0], 0),
        # A set that was just made has said nothing yet: what was known stays, so that nothing flaps.
        (3, [1, None], 3),
        (None, [1, None], None),
    ],
)
def test_terminating_pods_of_all_sets(before: int | None, of_sets: list[int | None], after: int | None) -> None:
    known: Obj = {} if before is None else {"terminatingReplicas": before}
    deployment = msgspec.convert({"metadata": {"name": "d"}, "spec": {"replicas": 2}, "status": known}, Deployment)
    patch, _ = status_of(Rollout(deployment, None, [replica_set(count) for count in of_sets], NOW))
    assert patch.get("terminatingReplicas", before) == after
