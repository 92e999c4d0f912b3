"""Objects that wait for what never comes: autoscalers, budgets, namespaces, schedules. What each says is its own."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterable, Iterator

from pilothouse.client.client import Client
from pilothouse.controllers.conditions import find
from pilothouse.controllers.cron_job.due import due
from pilothouse.kinds.autoscaling.horizontal_pod_autoscaler import HorizontalPodAutoscaler
from pilothouse.kinds.batch.cron_job import CronJob
from pilothouse.kinds.core.namespace import Namespace
from pilothouse.kinds.policy.pod_disruption_budget import PodDisruptionBudget

_WANTED = frozenset({"ScalingDisabled"})
"""Reasons for which an autoscaler rests because somebody wanted it to."""
_ENDS = ("NamespaceDeletionContentFailure", "NamespaceFinalizersRemaining")


async def troubles(client: Client) -> list[str]:
    """What stands still in the cluster, one line each. Raises ApiError."""
    found = [*of_autoscalers((await client.list(HorizontalPodAutoscaler)).items)]
    found += of_budgets((await client.list(PodDisruptionBudget)).items)
    found += of_namespaces((await client.list(Namespace)).items)
    found += of_schedules((await client.list(CronJob)).items, dt.datetime.now(dt.UTC))
    return found


def of_autoscalers(autoscalers: Iterable[HorizontalPodAutoscaler]) -> Iterator[str]:
    for autoscaler in autoscalers:
        for condition in autoscaler.status.conditions:
            if condition.type == "ScalingLimited" or condition.status != "False" or condition.reason in _WANTED:
                continue
            where = f"horizontalpodautoscaler/{autoscaler.name} in {autoscaler.namespace}"
            yield f"{where}: {condition.reason}: {condition.message}"


def of_budgets(budgets: Iterable[PodDisruptionBudget]) -> Iterator[str]:
    """Those that allow nothing for good; one that is used up for now has no message."""
    for budget in budgets:
        allowed = find(budget.status.conditions, "DisruptionAllowed")
        if allowed is not None and allowed.status == "False" and allowed.message:
            yield f"poddisruptionbudget/{budget.name} in {budget.namespace}: {allowed.message}"


def of_namespaces(namespaces: Iterable[Namespace]) -> Iterator[str]:
    for namespace in namespaces:
        if namespace.metadata.deletion_timestamp is None:
            continue
        said = [c.message for type in _ENDS if (c := find(namespace.status.conditions, type)) and c.status == "True"]
        others = [name for name in namespace.spec.finalizers if name != "kubernetes"] + namespace.metadata.finalizers
        if others:
            said.append(f"its own finalizers remain: {', '.join(others)}")
        if said:
            yield f"namespace/{namespace.name} cannot be deleted yet: {'; '.join(said)}"


def of_schedules(cron_jobs: Iterable[CronJob], now: dt.datetime) -> Iterator[str]:
    for cron_job in cron_jobs:
        where = f"cronjob/{cron_job.name} in {cron_job.namespace}"
        try:
            never = not cron_job.spec.suspend and due(cron_job, now).next is None
        except ValueError as error:
            yield f"{where}: {error}"
            continue
        if never:
            yield f'{where}: the schedule "{cron_job.spec.schedule}" has no start within the next five years'
