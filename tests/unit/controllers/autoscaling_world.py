"""An autoscaler's world in plain data: a target whose pods share a load, and a clock that is set by hand."""

from __future__ import annotations

import datetime as dt
import functools
from collections.abc import Callable
from typing import Any

import msgspec

from pilothouse.controllers.horizontal_pod_autoscaler.decide import Note, Snapshot, decide, outcome
from pilothouse.controllers.horizontal_pod_autoscaler.rates import History
from pilothouse.controllers.horizontal_pod_autoscaler.world import RESOURCES, MetricsAnswer
from pilothouse.controllers.scaling import Scale
from pilothouse.kinds.autoscaling.horizontal_pod_autoscaler import KIND, HorizontalPodAutoscaler
from pilothouse.kinds.core.pod import Pod
from pilothouse.machinery.objects import Obj, timestamp
from pilothouse.machinery.patch.merge_patch import merge_patch

START = dt.datetime(2026, 1, 1, 12, tzinfo=dt.UTC)
PERIOD = 15


def cpu(percent: int) -> Obj:
    target = {"type": "Utilization", "averageUtilization": percent}
    return {"type": "Resource", "resource": {"name": "cpu", "target": target}}


def pod(name: str, request: str = "1", **status: Any) -> Pod:
    """A pod that has been ready for long."""
    ready = {"type": "Ready", "status": "True", "lastTransitionTime": "2026-01-01T00:00:10Z"}
    tree = {
        "metadata": {"name": name, "namespace": "shop"},
        "spec": {"containers": [{"name": "main", "resources": {"requests": {"cpu": request, "memory": "1Gi"}}}]},
        "status": {"phase": "Running", "startTime": "2026-01-01T00:00:00Z", "conditions": [ready], **status},
    }
    return msgspec.convert(tree, Pod)


_usual = functools.lru_cache(pod)


def usage(name: str, millis: int, at: dt.datetime = START, **containers: int) -> Obj:
    """PodMetrics of one container `main`, or of those named."""
    amounts = containers or {"main": millis}
    return {
        "metadata": {"name": name, "namespace": "shop"},
        "timestamp": timestamp(at),
        "window": "10s",
        "containers": [
            {"name": container, "usage": {"cpu": f"{amount}m", "memory": "100Mi"}}
            for container, amount in amounts.items()
        ],
    }


class World:
    """`step` is one look of the controller. Pods are there and ready at once; `load(replicas)` is what each uses, and
    the first `rest(replicas)` of them a little more."""

    def __init__(self, replicas: int, load: Callable[[int], int], request: str = "1", **spec: Any) -> None:
        self.replicas = replicas
        self.load = load
        self.rest: Callable[[int], int] = lambda _: 0
        self.request = request
        self.now = START
        self.history = History()
        self.notes: list[Note] = []
        self.sizes = [replicas]
        self._tree: Obj = {"metadata": {"name": "web", "namespace": "shop"}, "spec": spec, "status": {}}
        self._tree["spec"].setdefault("scaleTargetRef", {"apiVersion": "apps/v1", "kind": "Deployment", "name": "web"})
        self._tree["spec"].setdefault("maxReplicas", 100)
        KIND.default(self._tree)
        assert not [c for c in KIND.validate(self._tree) if c.field.startswith("spec")]

    @property
    def autoscaler(self) -> HorizontalPodAutoscaler:
        return msgspec.convert(self._tree, HorizontalPodAutoscaler)

    def says(self, type: str) -> tuple[str, str]:
        found = next((c for c in self.autoscaler.status.conditions if c.type == type), None)
        return (found.status, found.reason) if found else ("", "")

    def message(self, type: str) -> str:
        return next(c.message for c in self.autoscaler.status.conditions if c.type == type)

    def step(
        self,
        *,
        pods: list[Pod] | None = None,
        metrics: MetricsAnswer | None = None,
        scale: Scale | str | None = None,
        rivals: tuple[str, ...] = ("shop/web",),
        error: str = "",
        answers: dict[str, MetricsAnswer] | None = None,
    ) -> None:
        if pods is None:
            pods = [_usual(f"p{number}", self.request) for number in range(self.replicas)]
        if metrics is None:
            each, rest = self.load(self.replicas), self.rest(self.replicas)
            metrics = [usage(p.name, each + (number < rest), self.now) for number, p in enumerate(pods)]
        if scale is None:
            scale = Scale("uid", "1", self.replicas, self.replicas, "app=web")
        answers = {RESOURCES: metrics, **(answers or {})}
        plan = decide(Snapshot(self.autoscaler, scale, self.now, self.history, pods, rivals, answers))
        if plan.rescale is not None and not error:
            self.replicas = plan.rescale
        result = outcome(plan, error)
        self.history = result.history
        self.notes += result.notes
        if result.status:
            self._tree = merge_patch(self._tree, {"status": result.status})
        self.sizes.append(self.replicas)
        self.now += dt.timedelta(seconds=PERIOD)

    def share(self, total: int) -> None:
        """From now on all pods together use `total`."""
        self.load, self.rest = (lambda n: total // n), (lambda n: total % n)

    def run(self, seconds: int) -> None:
        for _ in range(seconds // PERIOD):
            self.step()
