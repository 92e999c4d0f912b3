"""ReplicaSets: how many pods, which ones go, and what the status says."""

from __future__ import annotations

import datetime as dt
from typing import Any

import msgspec

from pilothouse.controllers.pending import PATIENCE_SECONDS, Pending
from pilothouse.controllers.replica_set.decide import decide, status
from pilothouse.kinds.apps.replica_set import ReplicaSet
from pilothouse.kinds.core.pod import Pod
from pilothouse.kinds.view import Condition

NOW = dt.datetime(2026, 1, 1, 12, tzinfo=dt.UTC)


def replica_set(replicas: int = 3, **more: Any) -> ReplicaSet:
    labels = {"app": "web"}
    tree = {
        "metadata": {"name": "web", "namespace": "shop", "uid": "rs", "generation": 2, **more.pop("metadata", {})},
        "spec": {
            "replicas": replicas,
            "selector": {"matchLabels": labels},
            "template": {"metadata": {"labels": labels}},
            **more,
        },
    }
    return msgspec.convert(tree, ReplicaSet)


def pod(name: str, *, owner: str = "rs", ready: str = "", node: str = "n", **more: Any) -> Pod:
    owners = [{"kind": "ReplicaSet", "name": "web", "uid": owner, "controller": True}] if owner else []
    conditions = [{"type": "Ready", "status": "True", "lastTransitionTime": ready}] if ready else []
    meta = {"name": name, "namespace": "shop", "labels": {"app": "web"}, "ownerReferences": owners}
    tree = {
        "metadata": {**meta, **more.pop("metadata", {})},
        "spec": {"nodeName": node},
        "status": {"phase": "Running", "conditions": conditions, **more},
    }
    return msgspec.convert(tree, Pod)


def test_missing_pods_are_made_and_ended_ones_replaced() -> None:
    pods = [pod("a"), pod("b", phase="Failed"), pod("c", metadata={"deletionTimestamp": "2026-01-01T00:00:00Z"})]
    assert decide(replica_set(), pods).create == 2


def test_nothing_is_scaled_while_earlier_changes_are_unseen() -> None:
    plan = decide(replica_set(), [], may_scale=False)
    assert (plan.create, plan.delete) == (0, [])


def test_a_set_being_deleted_makes_nothing() -> None:
    assert decide(replica_set(metadata={"deletionTimestamp": "2026-01-01T00:00:00Z"}), []).create == 0


def test_the_least_missed_pods_go_first() -> None:
    pods = [
        pod("old", ready="2026-01-01T10:00:00Z"),
        pod("young", ready="2026-01-01T11:00:00Z"),
        pod("unready"),
        pod("unplaced", node="", phase="Pending"),
        pod(
            "cheap",
            ready="2026-01-01T09:00:00Z",
            metadata={"annotations": {"controller.kubernetes.io/pod-deletion-cost": "-5"}},
        ),
    ]
    order = [decide(replica_set(5 - count), pods).delete[-1].name for count in range(1, 6)]
    assert order == ["unplaced", "unready", "cheap", "young", "old"]


def test_pods_are_taken_from_the_most_crowded_node() -> None:
    ready = "2026-01-01T10:00:00Z"
    pods = [pod("a", ready=ready, node="one"), pod("b", ready=ready, node="two"), pod("c", ready=ready, node="two")]
    assert decide(replica_set(2), pods).delete[0].name in ("b", "c")


def test_orphans_are_adopted_and_strays_released() -> None:
    stray = pod("stray", metadata={"labels": {"app": "other"}})
    plan = decide(replica_set(2), [pod("orphan", owner=""), stray, pod("foreign", owner="another")])
    assert [p.name for p in plan.claimed.adopt] == ["orphan"]
    assert [p.name for p in plan.claimed.release] == ["stray"]
    assert plan.create == 1


def test_a_ready_pod_becomes_available_after_its_time() -> None:
    young = pod("a", ready="2026-01-01T11:59:50Z")
    patch, wait = status(replica_set(1, minReadySeconds=30), [young], None, NOW)
    assert (patch["readyReplicas"], patch["availableReplicas"], wait) == (1, None, 20)
    patch, wait = status(replica_set(1, minReadySeconds=5), [young], None, NOW)
    assert (patch["availableReplicas"], wait) == (1, None)


def test_pods_that_are_being_deleted_are_counted_apart() -> None:
    going = {"deletionTimestamp": "2026-01-01T12:00:00Z"}
    ended = pod("ended", metadata=going)
    ended.status.phase = "Failed"
    plan = decide(replica_set(1), [pod("a"), pod("going", metadata=going), ended])
    assert (plan.terminating, len(plan.active), plan.create) == (1, 1, 0)
    patch, _ = status(replica_set(1), plan.active, None, NOW, terminating=plan.terminating)
    assert patch["terminatingReplicas"] == 1
    controller_of_old, _ = status(replica_set(1), plan.active, None, NOW)
    assert "terminatingReplicas" not in controller_of_old


def test_a_failure_is_shown_until_the_set_is_full() -> None:
    patch, _ = status(replica_set(1), [], ("FailedCreate", "quota exceeded"), NOW)
    (condition,) = patch["conditions"]
    assert (condition["type"], condition["reason"], condition["message"]) == (
        "ReplicaFailure",
        "FailedCreate",
        "quota exceeded",
    )
    failing = replica_set(1)
    failing.status.conditions = [msgspec.convert(condition, Condition)]
    assert "conditions" not in status(failing, [], None, NOW)[0]
    assert status(failing, [pod("a")], None, NOW)[0]["conditions"] is None


def test_pending_changes_are_awaited_and_given_up_in_the_end() -> None:
    now = [0.0]
    pending = Pending(lambda: now[0])
    pending.creating("rs", "shop/a")
    pending.deleting("rs", "shop/b")
    assert pending.outstanding("rs")
    pending.seen("rs", "shop/a")
    assert pending.outstanding("rs")
    pending.gone("rs", "shop/b")
    assert not pending.outstanding("rs")
    pending.creating("rs", "shop/c")
    now[0] += PATIENCE_SECONDS + 1
    assert not pending.outstanding("rs")
