"""Jobs: how many pods when, which go, what ends them, and what a pod is told."""

from __future__ import annotations

import datetime as dt
from typing import Any

import msgspec
import pytest
from job_world import NOW, World

from pilothouse.controllers.job.scale import NewPod
from pilothouse.controllers.job.template import pod_tree
from pilothouse.controllers.ttl_after_finished.decide import expires_in
from pilothouse.kinds.batch.job import Job


def started(**spec: Any) -> World:
    world = World(**spec)
    world.settle()
    return world


def later(world: World, seconds: float) -> None:
    world.now += dt.timedelta(seconds=seconds)
    world.settle()


@pytest.mark.parametrize(("failures", "seconds"), [(1, 10), (2, 20), (3, 40), (7, 600)])
def test_the_wait_doubles_with_each_failure(failures: int, seconds: int) -> None:
    world = started(backoffLimit=100)
    for _ in range(failures):
        (name,) = world.running()
        world.end(name, "Failed")
        world.settle()
        world.catch_up()
        wait = world.plan().wait
        later(world, wait or 0)
    assert wait == seconds
    assert len(world.running()) == 1


def test_fewer_pods_when_parallelism_falls_and_none_of_them_counts() -> None:
    world = started(parallelism=4, completions=4)
    world.tree["spec"]["parallelism"] = 1
    world.settle()
    assert len(world.running()) == 1
    assert (world.job.status.failed, world.job.status.active) == (0, 1)


def test_a_work_queue_is_done_when_one_succeeds_and_the_others_end() -> None:
    world = started(parallelism=2)
    first, second = world.running()
    world.end(first)
    world.settle()
    assert world.running() == [second]
    assert not world.over
    world.end(second)
    world.settle()
    assert (world.conditions()["Complete"], world.job.status.succeeded) == ("CompletionsReached", 2)


def test_the_deadline_counts_from_the_last_start() -> None:
    world = started(activeDeadlineSeconds=60, parallelism=1)
    later(world, 50)
    world.tree["spec"]["suspend"] = True
    later(world, 1000)
    world.tree["spec"]["suspend"] = False
    world.settle()
    assert not world.over
    world.catch_up()
    assert world.plan().wait == 60
    later(world, 60)
    assert world.conditions()["FailureTarget"] == "DeadlineExceeded"


def test_restarts_count_where_containers_are_restarted() -> None:
    world = World(backoffLimit=2)
    world.tree["spec"]["template"]["spec"]["restartPolicy"] = "OnFailure"
    world.settle()
    (name,) = world.running()
    world.pods[name]["status"]["containerStatuses"] = [{"name": "main", "restartCount": 2}]
    world.settle()
    assert world.conditions()["FailureTarget"] == "BackoffLimitExceeded"


def test_a_policy_fails_an_index_at_once() -> None:
    rule = {"action": "FailIndex", "onExitCodes": {"operator": "In", "values": [9]}}
    world = started(
        completions=2,
        parallelism=2,
        completionMode="Indexed",
        backoffLimitPerIndex=5,
        podFailurePolicy={"rules": [rule]},
        maxFailedIndexes=0,
    )
    world.end("work-0-1", "Failed", 9)
    world.settle()
    assert world.job.status.failed_indexes == "0"
    assert world.conditions()["FailureTarget"] == "MaxFailedIndexesExceeded"


def test_a_disrupted_pod_may_be_ignored() -> None:
    rule = {"action": "Ignore", "onPodConditions": [{"type": "DisruptionTarget", "status": "True"}]}
    world = started(backoffLimit=0, podFailurePolicy={"rules": [rule]})
    (name,) = world.running()
    world.end(name, "Failed")
    world.pods[name]["status"]["conditions"] = [{"type": "DisruptionTarget", "status": "True"}]
    world.settle()
    assert not world.over
    assert len(world.running()) == 1
    assert world.job.status.failed == 0


def test_a_failed_job_names_the_container_and_rule() -> None:
    rule = {"action": "FailJob", "onExitCodes": {"operator": "NotIn", "values": [1]}}
    world = started(podFailurePolicy={"rules": [rule]})
    (name,) = world.running()
    world.end(name, "Failed", 42)
    world.settle()
    failed = next(c for c in world.job.status.conditions if c.type == "Failed")
    expected = f"Container main for pod shop/{name} failed with exit code 42 matching FailJob rule at index 0"
    assert (failed.reason, failed.message) == ("PodFailurePolicy", expected)


def test_more_indexes_than_pods_at_once_are_done_in_order() -> None:
    world = started(completions=3, parallelism=1, completionMode="Indexed")
    done = []
    while not world.over:
        (name,) = world.running()
        done.append(name.split("-")[1])
        world.end(name)
        world.settle()
    assert done == ["0", "1", "2"]


def test_a_pod_is_told_its_index() -> None:
    world = World(completions=3, completionMode="Indexed")
    world.tree["metadata"]["name"] = "x" * 60
    tree = pod_tree(world.job, NewPod(2, failures=1, ignored=3))
    assert len(tree["metadata"]["name"]) == 63
    assert "-2-" in tree["metadata"]["name"]
    assert tree["spec"]["hostname"] == "x" * 60 + "-2"
    assert tree["metadata"]["annotations"] == {
        "batch.kubernetes.io/job-completion-index": "2",
        "batch.kubernetes.io/job-index-failure-count": "1",
        "batch.kubernetes.io/job-index-ignored-failure-count": "3",
    }
    (variable,) = tree["spec"]["containers"][0]["env"]
    assert variable["name"] == "JOB_COMPLETION_INDEX"
    path = variable["valueFrom"]["fieldRef"]["fieldPath"]
    assert path == "metadata.labels['batch.kubernetes.io/job-completion-index']"


@pytest.mark.parametrize(
    ("ttl", "condition", "left"), [(None, "Complete", None), (90, "Suspended", None), (90, "Failed", 30.0)]
)
def test_time_to_live(ttl: int | None, condition: str, left: float | None) -> None:
    ended = {"type": condition, "status": "True", "lastTransitionTime": "2026-01-01T11:59:00Z"}
    tree = {"spec": {"ttlSecondsAfterFinished": ttl}, "status": {"conditions": [ended]}}
    assert expires_in(msgspec.convert(tree, Job), NOW) == left
