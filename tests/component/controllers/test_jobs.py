"""Jobs and CronJobs from apply to their end, over the real API, with controllers that are killed on the way."""

from __future__ import annotations

from typing import Any

from cluster_world import Cluster

from pilothouse.client.shared import OWNER
from pilothouse.kinds.batch.cron_job import CronJob
from pilothouse.kinds.batch.job import COMPLETION_INDEX, TRACKING_FINALIZER, Job
from pilothouse.kinds.core.pod import Pod
from pilothouse.machinery.objects import Obj, timestamp

WORK = "shop/work"
_TEMPLATE: Obj = {"spec": {"restartPolicy": "Never", "containers": [{"name": "main", "image": "work:1"}]}}


async def create(cluster: Cluster, **spec: Any) -> None:
    await cluster.add_node("n1")
    tree = {"metadata": {"name": "work"}, "spec": {"template": _TEMPLATE, **spec}}
    await cluster.client.create_tree(Job.resource, tree, "shop")


def job(cluster: Cluster) -> Job:
    found: Job = cluster.get(Job, WORK)
    return found


def has(cluster: Cluster, type: str) -> bool:
    return any(c.type == type and c.status == "True" for c in job(cluster).status.conditions) if job(cluster) else False


def running(cluster: Cluster) -> list[Pod]:
    own = cluster.informers.of(Pod).by_index(OWNER, job(cluster).metadata.uid) if job(cluster) else []
    return [pod for pod in own if pod.status.phase == "Running" and pod.metadata.deletion_timestamp is None]


async def end(cluster: Cluster, pod: Pod, phase: str = "Succeeded", code: int = 0) -> None:
    ended = {"exitCode": code, "finishedAt": timestamp()}
    status: Obj = {
        "phase": phase,
        "conditions": [{"type": "Ready", "status": "False", "lastTransitionTime": timestamp()}],
        "containerStatuses": [{"name": "main", "state": {"terminated": ended}}],
    }
    await cluster.client.patch(Pod, pod.name, "shop", {"status": status}, subresource="status")


def released(cluster: Cluster) -> bool:
    return all(TRACKING_FINALIZER not in pod.metadata.finalizers for pod in cluster.all(Pod))


async def test_a_job_completes(cluster: Cluster) -> None:
    await create(cluster)
    (pod,) = await cluster.until(lambda: running(cluster))
    assert pod.metadata.labels["batch.kubernetes.io/job-name"] == "work"
    assert TRACKING_FINALIZER in pod.metadata.finalizers
    await end(cluster, pod)
    await cluster.until(lambda: has(cluster, "Complete") and released(cluster))
    status = job(cluster).status
    assert (status.succeeded, status.failed, status.active) == (1, 0, 0)
    assert status.completion_time
    assert [c.type for c in status.conditions] == ["SuccessCriteriaMet", "Complete"]


async def test_a_job_past_its_limit_fails(cluster: Cluster) -> None:
    await create(cluster, backoffLimit=0, parallelism=2, completions=2)
    pods = await cluster.until(lambda: len(found := running(cluster)) == 2 and found)
    await end(cluster, pods[0], "Failed", 3)
    await cluster.until(lambda: has(cluster, "Failed") and released(cluster))
    status = job(cluster).status
    assert (status.succeeded, status.failed, status.active) == (0, 2, 0)
    assert status.conditions[-1].reason == "BackoffLimitExceeded"


async def test_indexes_are_each_done_once_over_restarts_of_the_controllers(cluster: Cluster) -> None:
    await create(cluster, completions=5, parallelism=2, completionMode="Indexed")
    done: set[str] = set()
    while len(done) < 5:
        fresh = await cluster.until(
            lambda: [p for p in running(cluster) if p.metadata.annotations[COMPLETION_INDEX] not in done]
        )
        assert len(running(cluster)) <= 2
        done.add(fresh[0].metadata.annotations[COMPLETION_INDEX])
        assert fresh[0].spec.hostname == f"work-{fresh[0].metadata.annotations[COMPLETION_INDEX]}"
        await end(cluster, fresh[0])
        await cluster.restart_controllers()
    await cluster.until(lambda: has(cluster, "Complete") and released(cluster))
    assert (job(cluster).status.completed_indexes, job(cluster).status.succeeded) == ("0-4", 5)
    assert len(cluster.all(Pod)) == 5


async def test_a_suspended_job_loses_its_pods_and_gets_them_back(cluster: Cluster) -> None:
    await create(cluster, parallelism=2, completions=2)
    await cluster.until(lambda: len(running(cluster)) == 2)
    await cluster.client.patch(Job, "work", "shop", {"spec": {"suspend": True}})
    await cluster.until(lambda: has(cluster, "Suspended") and not cluster.all(Pod))
    await cluster.client.patch(Job, "work", "shop", {"spec": {"suspend": False}})
    pods = await cluster.until(lambda: len(found := running(cluster)) == 2 and found)
    for pod in pods:
        await end(cluster, pod)
    await cluster.until(lambda: has(cluster, "Complete"))
    assert (job(cluster).status.succeeded, job(cluster).status.failed) == (2, 0)


async def test_a_finished_job_is_deleted_after_its_time_with_its_pods(cluster: Cluster) -> None:
    await create(cluster, ttlSecondsAfterFinished=0)
    (pod,) = await cluster.until(lambda: running(cluster))
    await end(cluster, pod)
    await cluster.until(lambda: cluster.get(Job, WORK) is None and not cluster.all(Pod))


async def test_pods_of_a_deleted_job_go_too(cluster: Cluster) -> None:
    await create(cluster, parallelism=2, completions=2)
    await cluster.until(lambda: len(running(cluster)) == 2)
    await cluster.client.delete(Job, "work", "shop", propagation_policy="Background")
    await cluster.until(lambda: cluster.get(Job, WORK) is None and not cluster.all(Pod))


async def test_a_cron_job_starts_what_it_missed_once(cluster: Cluster) -> None:
    await cluster.add_node("n1")
    spec = {"schedule": "@yearly", "jobTemplate": {"spec": {"template": _TEMPLATE}}}
    made = await cluster.client.create_tree(
        CronJob.resource, {"metadata": {"name": "tick"}, "spec": {**spec, "suspend": True}}, "shop"
    )
    assert made["spec"]["concurrencyPolicy"] == "Allow"
    past = {"status": {"lastScheduleTime": "2020-06-01T00:00:00Z"}}
    await cluster.client.patch(CronJob, "tick", "shop", past, subresource="status")
    await cluster.client.patch(CronJob, "tick", "shop", {"spec": {"suspend": False}})
    (started,) = await cluster.until(lambda: cluster.all(Job))
    await cluster.until(lambda: len(cluster.get(CronJob, "shop/tick").status.active) == 1)
    assert started.metadata.owner_references[0].name == "tick"
    (pod,) = await cluster.until(lambda: [p for p in cluster.all(Pod) if p.status.phase == "Running"])
    await end(cluster, pod)
    await cluster.until(lambda: cluster.get(CronJob, "shop/tick").status.last_successful_time)
    tick: CronJob = cluster.get(CronJob, "shop/tick")
    assert tick.status.active == []
    assert (tick.status.last_schedule_time or "") > "2026"
    assert len(cluster.all(Job)) == 1
