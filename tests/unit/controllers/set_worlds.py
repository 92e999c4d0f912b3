"""A StatefulSet's and a DaemonSet's world in plain data: pods start and become ready at once unless they are broken."""

from __future__ import annotations

import datetime as dt
from typing import Any, Generic, TypeVar

import msgspec

from pilothouse.controllers.daemon_set import decide as daemon
from pilothouse.controllers.daemon_set.placement import on_node
from pilothouse.controllers.revisions import HASH, Create, Renumber
from pilothouse.controllers.stateful_set import decide as stateful
from pilothouse.controllers.stateful_set.plan import CreatePod, DeletePod, MakeClaim
from pilothouse.kinds.apps.controller_revision import ControllerRevision
from pilothouse.kinds.apps.daemon_set import DaemonSet
from pilothouse.kinds.apps.stateful_set import StatefulSet
from pilothouse.kinds.core.node import Node
from pilothouse.kinds.core.persistent_volume_claim import PersistentVolumeClaim
from pilothouse.kinds.core.pod import Pod
from pilothouse.machinery.objects import Obj

START = dt.datetime(2026, 1, 1, tzinfo=dt.UTC)
T = TypeVar("T", StatefulSet, DaemonSet)


class _World(Generic[T]):
    def __init__(self, cls: type[T], name: str, spec: Obj) -> None:
        self._cls = cls
        self._tree: Obj = {
            "metadata": {"name": name, "namespace": "shop", "uid": name, "generation": 1},
            "spec": {"selector": {"matchLabels": {"app": name}}, **spec},
            "status": {},
        }
        self._revisions: dict[str, Obj] = {}
        self.pods: dict[str, Obj] = {}
        self.broken = ""
        """The image whose pods never become ready."""
        self._made = 0
        self.late = False
        """Whether pods become ready, go, and are seen by the controller only when told to (`ready`, `end`, `look`)."""
        self._seen: list[Pod] = []
        self._template(f"{name}:1")

    def _template(self, image: str) -> None:
        labels = self._tree["spec"]["selector"]["matchLabels"]
        template = {"metadata": {"labels": labels}, "spec": {"containers": [{"name": "main", "image": image}]}}
        self._tree["spec"]["template"] = template

    @property
    def owner(self) -> T:
        return msgspec.convert(self._tree, self._cls)

    def change(self, **spec: Any) -> None:
        self._tree["spec"].update(spec)
        self._tree["metadata"]["generation"] += 1

    def set_image(self, image: str) -> None:
        self._template(image)
        self._tree["metadata"]["generation"] += 1

    def _add(self, name: str, tree: Obj) -> None:
        self._made += 1
        made = START + dt.timedelta(seconds=self._made)
        broken = self.late or tree["spec"]["containers"][0]["image"] == self.broken
        ready = "False" if broken else "True"
        moment = made.strftime("%Y-%m-%dT%H:%M:%SZ")
        meta = {**tree["metadata"], "name": name, "uid": f"{name}-{self._made}", "creationTimestamp": moment}
        condition = {"type": "Ready", "status": ready, "lastTransitionTime": moment}
        self.pods[name] = {**tree, "metadata": meta, "status": {"phase": "Running", "conditions": [condition]}}

    def _remove(self, pod: Pod) -> None:
        """As the API does it: that very pod or none."""
        current = self.pods.get(pod.name)
        if current is None or current["metadata"]["uid"] != pod.metadata.uid:
            return
        if self.late:
            current["metadata"]["deletionTimestamp"] = "2026-01-01T00:30:00Z"
        else:
            del self.pods[pod.name]

    def ready(self, name: str) -> None:
        """The pod becomes ready, if it is there."""
        if name in self.pods:
            self.pods[name]["status"]["conditions"][0]["status"] = "True"

    def end(self, name: str) -> None:
        """A pod that is being deleted is gone."""
        if name in self.pods and "deletionTimestamp" in self.pods[name]["metadata"]:
            del self.pods[name]

    def look(self) -> None:
        """The controller sees the pods as they are now."""
        self._seen = self._now()

    def _now(self) -> list[Pod]:
        return [msgspec.convert(tree, Pod) for tree in self.pods.values()]

    def available(self) -> list[Pod]:
        """Pods that are ready and stay."""
        return [
            pod
            for pod in self._now()
            if pod.metadata.deletion_timestamp is None and pod.status.conditions[0].status == "True"
        ]

    def _snapshot(self) -> tuple[list[Pod], list[ControllerRevision]]:
        pods = self._seen if self.late else self._now()
        return pods, [msgspec.convert(tree, ControllerRevision) for tree in self._revisions.values()]

    def _keep(self, write: Create | Renumber | None, status: Obj) -> None:
        if isinstance(write, Create):
            self._revisions[write.name] = write.tree
        elif write is not None:
            self._revisions[write.target.name]["revision"] = write.revision
        self._tree["status"].update({key: value for key, value in status.items() if value is not None})
        for key in [key for key, value in status.items() if value is None]:
            self._tree["status"].pop(key, None)

    def step(self) -> str:
        """One pass: decides and applies; says what."""
        raise NotImplementedError

    def run(self, most: int = 50) -> list[str]:
        """Passes until nothing is left to do; raises AssertionError if that never happens."""
        said = []
        for _ in range(most):
            said.append(self.step())
            if said[-1] == "nothing":
                return said
        raise AssertionError("it does not come to rest")


class StatefulWorld(_World[StatefulSet]):
    def __init__(self, replicas: int, **spec: Any) -> None:
        super().__init__(StatefulSet, "db", {"replicas": replicas, "serviceName": "db", **spec})
        self.claims: dict[str, Obj] = {}

    def step(self) -> str:
        pods, revisions = self._snapshot()
        claims = {name: msgspec.convert(tree, PersistentVolumeClaim) for name, tree in self.claims.items()}
        plan = stateful.decide(stateful.Snapshot(self.owner, pods, revisions, claims, START + dt.timedelta(hours=1)))
        for action in plan.actions:
            match action:
                case MakeClaim(name=name, tree=tree):
                    self.claims[name] = tree
                case CreatePod(name=name, tree=tree):
                    if name not in self.pods:
                        self._add(name, tree)
                case DeletePod(pod=pod):
                    self._remove(pod)
        self._keep(plan.revision, plan.status)
        return plan.text()


class DaemonWorld(_World[DaemonSet]):
    def __init__(self, *nodes: str, **spec: Any) -> None:
        self.nodes = list(nodes)
        super().__init__(DaemonSet, "agent", spec)

    def _template(self, image: str) -> None:
        super()._template(image)
        self._tree["spec"]["template"]["spec"]["nodeSelector"] = {"role": "worker"}

    def step(self) -> str:
        pods, revisions = self._snapshot()
        nodes = [
            msgspec.convert({"metadata": {"name": name, "labels": self._labels(name)}}, Node)
            for name in ("a", "b", "c")
        ]
        plan = daemon.decide(
            daemon.Snapshot(
                self.owner, pods, nodes, revisions, START + dt.timedelta(hours=1), may_scale=not self._awaited()
            )
        )
        for item in plan.delete:
            self._remove(item.pod)
        for node in plan.create:
            template = self._tree["spec"]["template"]
            labels = {**template["metadata"]["labels"], HASH: plan.hash}
            name = f"agent-{node}-{self._made + 1}"
            self._add(name, {"metadata": {"labels": labels}, "spec": on_node(template["spec"], node)})
        self._keep(plan.revision, plan.status)
        return plan.text()

    def _awaited(self) -> bool:
        """Whether something this controller made or deleted is not seen yet, which it keeps notes of."""
        if not self.late:
            return False
        seen = {pod.metadata.uid: pod for pod in self._seen}
        going = {pod.metadata.uid for pod in self._now() if pod.metadata.deletion_timestamp is not None}
        there = {pod.metadata.uid for pod in self._now()}
        stale = {
            uid for uid, pod in seen.items() if pod.metadata.deletion_timestamp is None and uid not in there - going
        }
        return bool(stale or there - seen.keys())

    def _labels(self, node: str) -> dict[str, str]:
        return {"role": "worker"} if node in self.nodes else {}
