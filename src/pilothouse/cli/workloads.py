"""The kinds of workload that the commands know, and one way to ask any of them how far it is."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TypeAlias

from pilothouse.cli.job_progress import of_job
from pilothouse.cli.progress import Progress, of_daemon_set, of_deployment, of_stateful_set, proves_itself, with_refusal
from pilothouse.kinds.apps.daemon_set import DaemonSet
from pilothouse.kinds.apps.deployment import Deployment
from pilothouse.kinds.apps.replica_set import ReplicaSet
from pilothouse.kinds.apps.stateful_set import StatefulSet
from pilothouse.kinds.batch.job import Job
from pilothouse.kinds.core.event import Event
from pilothouse.kinds.core.pod import Pod

Live: TypeAlias = Deployment | StatefulSet | DaemonSet | Job
WORKLOADS: tuple[type[Live], ...] = (Deployment, StatefulSet, DaemonSet, Job)
BY_KIND = {cls.resource.kind: cls for cls in WORKLOADS}


def progress_of(
    live: Live, replica_sets: Iterable[ReplicaSet], pods: Iterable[Pod], events: Iterable[Event] = ()
) -> Progress:
    """How far a workload is; `replica_sets`, `pods` and `events` are those of its namespace."""
    match live:
        case Deployment():
            return of_deployment(live, replica_sets, pods)
        case StatefulSet():
            progress = of_stateful_set(live, pods)
        case DaemonSet():
            progress = of_daemon_set(live, pods)
        case Job():
            progress = of_job(live, pods)
    return with_refusal(progress, live.metadata.uid, events)


def ready_for_good(live: Live) -> bool:
    """True when ready means more than started: every container has a readiness probe, or a Job has ended."""
    return isinstance(live, Job) or proves_itself(live)
