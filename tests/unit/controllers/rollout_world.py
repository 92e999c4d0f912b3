"""A Deployment's world in plain data: sets, pods that start, become ready and fail, and a clock that is set by hand."""

from __future__ import annotations

import datetime as dt
from typing import Any

import msgspec

from pilothouse.controllers.deployment.decide import Snapshot, decide
from pilothouse.controllers.deployment.plan import Action, Annotate, Create, Plan, Remove, Scale
from pilothouse.kinds.apps.deployment import Deployment
from pilothouse.kinds.apps.replica_set import ReplicaSet
from pilothouse.kinds.core.pod import Pod
from pilothouse.machinery.objects import Obj

START = dt.datetime(2026, 1, 1, tzinfo=dt.UTC)


class World:
    """`sync` is one pass of the Deployment controller; `settle_set` one of the ReplicaSet controller."""

    def __init__(self, replicas: int, **spec: Any) -> None:
        labels = {"app": "web"}
        self._deployment: Obj = {
            "metadata": {"name": "web", "namespace": "shop", "uid": "d", "generation": 1, "annotations": {}},
            "spec": {
                "replicas": replicas,
                "selector": {"matchLabels": labels},
                "template": {"metadata": {"labels": labels}, "spec": {"containers": [{"image": "web:1"}]}},
                **spec,
            },
            "status": {},
        }
        self._sets: dict[str, Obj] = {}
        self.pods: dict[str, list[bool]] = {}
        """For each set, its pods: True once ready."""
        self.now = START

    @property
    def deployment(self) -> Deployment:
        return msgspec.convert(self._deployment, Deployment)

    @property
    def sets(self) -> list[ReplicaSet]:
        return [msgspec.convert(tree, ReplicaSet) for tree in self._sets.values()]

    @property
    def living(self) -> int:
        return sum(map(len, self.pods.values()))

    @property
    def ready(self) -> int:
        return sum(map(sum, self.pods.values()))

    def change(self, **spec: Any) -> None:
        self._deployment["spec"].update(spec)
        self._deployment["metadata"]["generation"] += 1

    def set_image(self, image: str) -> None:
        template = {"metadata": {"labels": {"app": "web"}}, "spec": {"containers": [{"image": image}]}}
        self.change(template=template)

    def sync(self) -> Plan:
        """Decides and applies."""
        pods = [_pod(name) for name, pods in self.pods.items() for _ in pods]
        plan = decide(Snapshot(self.deployment, self.sets, pods, self.now))
        for action in plan.actions:
            self._apply(action)
        self._deployment["metadata"]["annotations"].update(plan.annotations)
        for key, value in plan.status.items():
            if value is None:
                self._deployment["status"].pop(key, None)
            else:
                self._deployment["status"][key] = value
        return plan

    def _apply(self, action: Action) -> None:
        match action:
            case Create(name=name, tree=tree):
                self.now += dt.timedelta(seconds=1)
                meta = {**tree["metadata"], "uid": name, "generation": 1}
                meta["creationTimestamp"] = self.now.strftime("%Y-%m-%dT%H:%M:%SZ")
                self._sets[name] = {**tree, "metadata": meta, "status": {}}
                self.pods[name] = []
            case Scale(replica_set=replica_set, replicas=replicas, annotations=annotations):
                tree = self._sets[replica_set.name]
                tree["spec"]["replicas"] = replicas
                tree["metadata"]["generation"] += 1
                tree["metadata"]["annotations"].update(annotations)
            case Annotate(replica_set=replica_set, annotations=annotations):
                self._sets[replica_set.name]["metadata"]["annotations"].update(annotations)
            case Remove(replica_set=replica_set):
                del self._sets[replica_set.name], self.pods[replica_set.name]

    def names(self) -> list[str]:
        return list(self._sets)

    def settle_set(self, name: str) -> None:
        """Makes or removes pods (those not ready first)."""
        wanted, pods = self._sets[name]["spec"]["replicas"], self.pods[name]
        while len(pods) < wanted:
            pods.append(False)
        for _ in range(len(pods) - wanted):
            pods.remove(min(pods))

    def report_set(self, name: str) -> None:
        """Writes the set's status as it is now."""
        pods, tree = self.pods[name], self._sets[name]
        tree["status"] = {
            "replicas": len(pods),
            "readyReplicas": sum(pods),
            "availableReplicas": sum(pods),
            "terminatingReplicas": 0,
            "observedGeneration": tree["metadata"]["generation"],
        }

    def ready_one(self, name: str) -> None:
        if False in self.pods[name]:
            self.pods[name][self.pods[name].index(False)] = True

    def settle(self, *, ready: bool = True) -> None:
        """Everything but the Deployment controller comes to rest."""
        for name in self.names():
            self.settle_set(name)
            if ready:
                self.pods[name] = [True] * len(self.pods[name])
            self.report_set(name)

    def run(self, most: int = 200, *, ready: bool = True) -> list[Plan]:
        """Passes until nothing is left to do; raises AssertionError if that never happens."""
        plans = []
        for _ in range(most):
            self.settle(ready=ready)
            plan = self.sync()
            plans.append(plan)
            if not (plan.actions or plan.annotations or plan.status):
                return plans
        raise AssertionError("the rollout does not come to rest")


def _pod(owner: str) -> Pod:
    tree = {
        "metadata": {"name": "p", "ownerReferences": [{"kind": "ReplicaSet", "uid": owner, "controller": True}]},
        "status": {"phase": "Running"},
    }
    return msgspec.convert(tree, Pod)
