"""What `pilothouse status` says of objects that stand still."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable, Iterable
from typing import Any

import msgspec
import pytest

from pilothouse.cli.troubles import of_autoscalers, of_budgets, of_namespaces, of_schedules
from pilothouse.kinds.autoscaling.horizontal_pod_autoscaler import HorizontalPodAutoscaler
from pilothouse.kinds.batch.cron_job import CronJob
from pilothouse.kinds.core.namespace import Namespace
from pilothouse.kinds.policy.pod_disruption_budget import PodDisruptionBudget
from pilothouse.machinery.objects import Obj

NOW = dt.datetime(2026, 1, 1, tzinfo=dt.UTC)
META = {"name": "x", "namespace": "shop"}


def condition(type: str, status: str, reason: str, message: str = "") -> Obj:
    return {"status": {"conditions": [{"type": type, "status": status, "reason": reason, "message": message}]}}


def schedules(cron_jobs: Iterable[CronJob]) -> Iterable[str]:
    return of_schedules(cron_jobs, NOW)


GOING = {**META, "deletionTimestamp": "2026-01-01T00:00:00Z"}


@pytest.mark.parametrize(
    ("cls", "look", "tree", "lines"),
    [
        (
            HorizontalPodAutoscaler,
            of_autoscalers,
            condition("ScalingActive", "False", "AmbiguousSelector", "two want it"),
            ["horizontalpodautoscaler/x in shop: AmbiguousSelector: two want it"],
        ),
        (HorizontalPodAutoscaler, of_autoscalers, condition("ScalingActive", "False", "ScalingDisabled"), []),
        (HorizontalPodAutoscaler, of_autoscalers, condition("ScalingLimited", "False", "DesiredWithinRange"), []),
        (
            PodDisruptionBudget,
            of_budgets,
            condition("DisruptionAllowed", "False", "InsufficientPods", "no pod can ever be evicted"),
            ["poddisruptionbudget/x in shop: no pod can ever be evicted"],
        ),
        (PodDisruptionBudget, of_budgets, condition("DisruptionAllowed", "False", "InsufficientPods"), []),
        (
            Namespace,
            of_namespaces,
            {"metadata": GOING, **condition("NamespaceFinalizersRemaining", "True", "SomeFinalizersRemain", "held")},
            ["namespace/x cannot be deleted yet: held"],
        ),
        (
            Namespace,
            of_namespaces,
            {"metadata": {**GOING, "finalizers": ["a/b"]}, "spec": {"finalizers": ["kubernetes", "mine"]}},
            ["namespace/x cannot be deleted yet: its own finalizers remain: mine, a/b"],
        ),
        (
            CronJob,
            schedules,
            {"spec": {"schedule": "0 0 31 2 *"}},
            ['cronjob/x in shop: the schedule "0 0 31 2 *" has no start within the next five years'],
        ),
        (CronJob, schedules, {"spec": {"schedule": "0 0 31 2 *", "suspend": True}}, []),
        (CronJob, schedules, {"spec": {"schedule": "0 0 * * *"}}, []),
    ],
)
def test_what_stands_still_is_named(cls: type[Any], look: Callable[[Any], Any], tree: Obj, lines: list[str]) -> None:
    assert list(look([msgspec.convert({"metadata": META, **tree}, cls)])) == lines
