"""A Job's small world: the API's objects, a controller that sees them late and may die between any two requests."""

from __future__ import annotations

import copy
import datetime as dt
from collections.abc import Iterator
from typing import Any

import msgspec

from pilothouse.controllers.job.decide import Plan, decide
from pilothouse.controllers.job.template import pod_tree
from pilothouse.kinds.batch.job import COMPLETION_INDEX, KIND, TRACKING_FINALIZER, Job
from pilothouse.kinds.core.pod import Pod
from pilothouse.machinery.objects import Obj, timestamp

NOW = dt.datetime(2026, 1, 1, 12, tzinfo=dt.UTC)


class World:
    """`pods` are what the API has, `seen` what the controller's copy shows."""

    def __init__(self, **spec: Any) -> None:
        template = {"spec": {"restartPolicy": "Never", "containers": [{"name": "main", "image": "work:1"}]}}
        self.tree: Obj = {
            "metadata": {"name": "work", "namespace": "shop", "uid": "j"},
            "spec": {"template": template, **spec},
        }
        KIND.default(self.tree)
        KIND.prepare_create(self.tree)
        self.now = NOW
        self.pods: dict[str, Obj] = {}
        self.seen: dict[str, Obj] = {}
        self.succeeded: list[str] = []
        self.failed: list[str] = []
        self.events: list[str] = []
        self._number = 0
        self._released: set[str] = set()
        self._unseen = False

    @property
    def job(self) -> Job:
        return msgspec.convert(self.tree, Job)

    def conditions(self) -> dict[str, str]:
        return {c.type: c.reason for c in self.job.status.conditions if c.status == "True"}

    @property
    def over(self) -> bool:
        return bool({"Complete", "Failed"} & self.conditions().keys())

    def running(self) -> list[str]:
        """Names of the pods that have not ended and are not being deleted."""
        return [
            name
            for name, pod in self.pods.items()
            if pod["status"]["phase"] == "Running" and "deletionTimestamp" not in pod["metadata"]
        ]

    # The controller

    def plan(self) -> Plan:
        views = [msgspec.convert(pod, Pod) for pod in self.seen.values()]
        return decide(self.job, views, frozenset(self._released), self.now, may_scale=not self._unseen)

    def sync(self, requests: int = 10_000) -> Plan:
        """One pass of which only the first `requests` requests are sent."""
        plan = self.plan()
        for _, _ in zip(range(requests), self._requests(plan)):
            pass
        return plan

    def _requests(self, plan: Plan) -> Iterator[None]:
        if plan.status:
            _merge(self.tree.setdefault("status", {}), plan.status)
            yield
        self.events += [event.reason for event in plan.events]
        for pod in plan.release:
            self._released.add(pod.metadata.uid)
            self._untrack(pod.name)
            yield
        for pod in plan.track:
            if pod.name in self.pods:
                self.pods[pod.name]["metadata"].setdefault("finalizers", []).append(TRACKING_FINALIZER)
            yield
        for pod in plan.discard:
            live = self.pods.get(pod.name)
            if live is None or live["status"] != self.seen[pod.name]["status"]:
                # The patch is conditional: a pod that has ended meanwhile is left.
                continue
            self._untrack(pod.name)
            yield
            self._delete(pod.name)
            yield
        for pod in plan.delete:
            self._delete(pod.name)
            yield
        for new in plan.create:
            self._create(new)
            yield

    def _create(self, new: Any) -> None:
        self._number += 1
        tree = pod_tree(self.job, new)
        index = "" if new.index is None else f"-{new.index}"
        name = f"work{index}-{self._number}"
        tree["metadata"] |= {"name": name, "uid": name, "namespace": "shop", "creationTimestamp": timestamp(self.now)}
        tree["spec"]["nodeName"] = "n"
        tree["status"] = {"phase": "Running"}
        self.pods[name] = tree
        self._unseen = True

    def _delete(self, name: str) -> None:
        if name in self.pods:
            self.pods[name]["metadata"].setdefault("deletionTimestamp", timestamp(self.now))
            self._unseen = True
            self._sweep(name)

    def _untrack(self, name: str) -> None:
        if name in self.pods:
            self.pods[name]["metadata"].pop("finalizers", None)
            self._sweep(name)

    def _sweep(self, name: str) -> None:
        meta = self.pods[name]["metadata"]
        if "deletionTimestamp" in meta and not meta.get("finalizers"):
            del self.pods[name]

    def catch_up(self) -> None:
        """The controller's copy is what the API has."""
        self.seen = copy.deepcopy(self.pods)
        self._released.clear()
        self._unseen = False

    def restart(self) -> None:
        """A new controller: it knows nothing, and lists afresh."""
        self.catch_up()

    # Its pods

    def end(self, name: str, phase: str = "Succeeded", code: int = 1) -> None:
        """The pod ends, if it has not."""
        pod = self.pods.get(name)
        if pod is None or pod["status"]["phase"] != "Running":
            return
        ended = {"exitCode": 0 if phase == "Succeeded" else code, "finishedAt": timestamp(self.now)}
        pod["status"] = {"phase": phase, "containerStatuses": [{"name": "main", "state": {"terminated": ended}}]}
        if pod["metadata"].get("finalizers"):
            (self.succeeded if phase == "Succeeded" else self.failed).append(name)

    def settle(self, passes: int = 12) -> None:
        """Until a pass changes nothing."""
        for _ in range(passes):
            self.catch_up()
            before = (copy.deepcopy(self.tree), copy.deepcopy(self.pods))
            self.sync()
            if before == (self.tree, self.pods):
                return

    def text(self, plan: Plan) -> str:
        """A plan as it is shown in golden files."""
        lines = [f"  status {_sorted(plan.status)}"] if plan.status else []
        for what in ("release", "track", "discard", "delete"):
            names = [pod.name for pod in getattr(plan, what)]
            lines += [f"  {what} {' '.join(names)}"] if names else []
        for new in plan.create:
            more = "" if new.index is None else f" index {new.index}"
            lines.append(f"  create{more}" + ("" if new.failures is None else f" after {new.failures} failures"))
        lines += [f"  event {event.type} {event.reason}: {event.message}" for event in plan.events]
        if plan.wait is not None:
            lines.append(f"  again in {plan.wait:.0f} s")
        return "\n".join(lines or ["  nothing"])


def index_of(pod: Obj) -> str:
    return str(pod["metadata"]["annotations"][COMPLETION_INDEX])


def _merge(target: Obj, patch: Obj) -> None:
    for key, value in patch.items():
        if value is None:
            target.pop(key, None)
        elif isinstance(value, dict):
            _merge(target.setdefault(key, {}), value)
        else:
            target[key] = value


def _sorted(status: Obj) -> str:
    shown = {k: [c["type"] + "=" + c["status"] for c in v] if k == "conditions" else v for k, v in status.items()}
    return ", ".join(f"{key}={shown[key]}" for key in sorted(shown))
