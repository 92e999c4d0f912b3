"""What a budget's status says, and when."""

from __future__ import annotations

import datetime as dt
from typing import Any

import msgspec
import pytest

from pilothouse.controllers.disruption.decide import Owner, Snapshot, decide, stale_in
from pilothouse.kinds.core.pod import Pod
from pilothouse.kinds.policy.pod_disruption_budget import PodDisruptionBudget
from pilothouse.machinery.objects import Obj

NOW = dt.datetime(2026, 1, 1, 12, tzinfo=dt.UTC)


def pod(name: str, *, ready: bool = True, owner: str = "rs", going: bool = False, **status: Any) -> Pod:
    meta: Obj = {"name": name, "namespace": "shop", "creationTimestamp": "2026-01-01T00:00:00Z"}
    if owner:
        meta["ownerReferences"] = [{"kind": "ReplicaSet", "name": owner, "uid": owner, "controller": True}]
    if going:
        meta["deletionTimestamp"] = "2026-01-01T12:00:00Z"
    conditions = [{"type": "Ready", "status": "True" if ready else "False"}, *status.pop("conditions", [])]
    tree = {"metadata": meta, "status": {"phase": "Running", "conditions": conditions, **status}}
    return msgspec.convert(tree, Pod)


def budget(status: Obj | None = None, **spec: Any) -> PodDisruptionBudget:
    tree = {
        "metadata": {"name": "web", "namespace": "shop", "generation": 2},
        "spec": {"selector": {"matchLabels": {"app": "web"}}, **spec},
        "status": status or {},
    }
    return msgspec.convert(tree, PodDisruptionBudget)


def status(spec: Obj, pods: list[Pod], old: Obj | None = None, size: int | None = None) -> Obj:
    owners: dict[str, Owner | str] = {"rs": Owner("deployment", len(pods) if size is None else size)}
    return decide(Snapshot(budget(old, **spec), pods, owners, NOW)).status


def counts(status: Obj) -> tuple[int, int, int, int]:
    keys = ("expectedPods", "currentHealthy", "desiredHealthy", "disruptionsAllowed")
    return tuple(status[key] for key in keys)  # type: ignore[return-value]


@pytest.mark.parametrize(
    ("spec", "ready", "unready", "size", "expected"),
    [
        ({"minAvailable": 2}, 3, 0, 3, (3, 3, 2, 1)),
        ({"minAvailable": 2}, 2, 1, 3, (3, 2, 2, 0)),
        ({"minAvailable": 0}, 1, 0, 1, (1, 1, 0, 1)),
        ({"minAvailable": "50%"}, 5, 0, 5, (5, 5, 3, 2)),
        ({"minAvailable": "30%"}, 4, 0, 10, (10, 4, 3, 1)),
        ({"maxUnavailable": 1}, 3, 0, 3, (3, 3, 2, 1)),
        ({"maxUnavailable": 1}, 3, 0, 5, (5, 3, 4, 0)),
        ({"maxUnavailable": "30%"}, 10, 0, 10, (10, 10, 7, 3)),
        ({"maxUnavailable": 9}, 3, 0, 3, (3, 3, 0, 3)),
        ({"minAvailable": 1}, 0, 0, 0, (0, 0, 1, 0)),
    ],
)
def test_what_is_allowed(spec: Obj, ready: int, unready: int, size: int, expected: tuple[int, ...]) -> None:
    pods = [pod(f"r{n}") for n in range(ready)] + [pod(f"u{n}", ready=False) for n in range(unready)]
    made = status(spec, pods, size=size)
    assert counts(made) == expected
    assert made["observedGeneration"] == 2
    (condition,) = made["conditions"]
    wanted = ("True", "SufficientPods") if expected[3] else ("False", "InsufficientPods")
    assert (condition["status"], condition["reason"]) == wanted


def test_a_status_that_says_so_already_is_not_written() -> None:
    pods = [pod("a"), pod("b")]
    first = status({"minAvailable": 1}, pods)
    assert first
    assert status({"minAvailable": 1}, pods, old=first) == {}


def test_granted_evictions_count_until_they_are_seen_or_given_up() -> None:
    old = {"disruptedPods": {"a": "2026-01-01T11:59:30Z", "b": "2026-01-01T11:59:30Z", "c": "2026-01-01T11:50:00Z"}}
    pods = [pod("a"), pod("b", going=True), pod("c"), pod("d")]
    snapshot = Snapshot(budget(old, minAvailable=1), pods, {}, NOW)
    plan = decide(snapshot)
    assert plan.status["disruptedPods"] == {"a": "2026-01-01T11:59:30Z", "b": None, "c": None}
    assert counts(plan.status) == (4, 2, 1, 1)
    assert [p.name for p in plan.overdue] == ["c"]
    assert plan.again == 91


def test_a_new_pod_of_the_same_name_is_another_one() -> None:
    reborn = msgspec.structs.replace(
        pod("db-0"), metadata=msgspec.structs.replace(pod("db-0").metadata, creation_timestamp="2026-01-01T11:59:40Z")
    )
    old = {"disruptedPods": {"db-0": "2026-01-01T11:59:30Z"}}
    made = status({"minAvailable": 1}, [reborn], old=old)
    assert made["currentHealthy"] == 1


def test_unknown_sizes_allow_nothing_and_say_why() -> None:
    plan = decide(Snapshot(budget(maxUnavailable=1), [pod("a")], {}, NOW))
    assert plan.status["disruptionsAllowed"] == 0
    (condition,) = plan.status["conditions"]
    assert condition["reason"] == "SyncFailed"
    assert condition["message"] == 'found no controllers for pod "a"'
    why = "jobs.batch does not implement the scale subresource"
    plan = decide(Snapshot(budget(maxUnavailable=1), [pod("a")], {"rs": why}, NOW))
    assert [note.reason for note in plan.notes] == ["CalculateExpectedPodCountFailed"]
    assert plan.notes[0].message == f"Failed to calculate the number of expected pods: {why}"


def test_pods_of_nobody_are_named() -> None:
    plan = decide(Snapshot(budget(maxUnavailable=1), [pod("a", owner="")], {}, NOW))
    assert [note.reason for note in plan.notes] == ["UnmanagedPods"]
    assert "&LabelSelector{MatchLabels:map[string]string{app: web,}" in plan.notes[0].message


@pytest.mark.parametrize("spec", [{"maxUnavailable": 0}, {"minAvailable": 3}, {"minAvailable": "100%"}])
def test_a_budget_that_can_never_be_met_is_named(spec: Obj) -> None:
    pods = [pod(name) for name in "abc"]
    plan = decide(Snapshot(budget(**spec), pods, {"rs": Owner("d", 3)}, NOW))
    assert "BudgetCannotBeMet" in [note.reason for note in plan.notes]
    assert "no pod can ever be evicted" in plan.status["conditions"][0]["message"]


@pytest.mark.parametrize(
    ("condition", "going", "phase", "wait"),
    [
        ({"status": "True", "lastTransitionTime": "2026-01-01T11:59:00Z"}, False, "Running", 60),
        ({"status": "True", "lastTransitionTime": "2026-01-01T11:50:00Z"}, False, "Running", 0),
        ({"status": "True", "lastTransitionTime": "2026-01-01T11:50:00Z"}, True, "Running", None),
        ({"status": "True", "lastTransitionTime": "2026-01-01T11:50:00Z"}, False, "Failed", None),
        ({"status": "True", "reason": "TerminationByKubelet"}, False, "Running", None),
        ({"status": "False"}, False, "Running", None),
    ],
)
def test_marks_on_pods_that_stay_go_stale(condition: Obj, going: bool, phase: str, wait: float | None) -> None:
    marked = pod("a", going=going, phase=phase, conditions=[{"type": "DisruptionTarget", **condition}])
    assert stale_in(marked, NOW) == wait
