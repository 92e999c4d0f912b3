"""A budget is never broken: whatever the order of evictions, and however late the controller sees what happened."""

from __future__ import annotations

import copy
import datetime as dt

import msgspec
from hypothesis import given, settings
from hypothesis import strategies as st

from pilothouse.apiserver import disruption_budgets
from pilothouse.controllers.disruption.decide import Owner, Snapshot, decide
from pilothouse.kinds.core.pod import Pod
from pilothouse.kinds.policy.pod_disruption_budget import PodDisruptionBudget
from pilothouse.machinery.errors import ApiError
from pilothouse.machinery.objects import Obj
from pilothouse.machinery.patch.merge_patch import merge_patch

NOW = dt.datetime(2026, 1, 1, 12, tzinfo=dt.UTC)
_STEPS = st.lists(
    st.tuples(
        st.sampled_from(["sync", "see pods", "see budget", "charge", "delete", "gone", "replace", "ready"]),
        st.integers(0, 11),
    ),
    max_size=120,
)


class World:
    """Pods that live, go and come again under the same names; a budget; and a controller that sees both late."""

    def __init__(self, pods: int, spec: Obj) -> None:
        self.size = pods
        self.pods: dict[str, Obj] = {}
        self.charged: set[str] = set()
        self.version = 1
        self.budget: Obj = {
            "metadata": {"name": "web", "namespace": "shop", "generation": 1},
            "spec": {"selector": {"matchLabels": {"app": "web"}}, **spec},
            "status": {},
        }
        for number in range(pods):
            self.pods[f"web-{number}"] = self._pod(f"web-{number}", ready=True)
        self.see_pods()
        self.see_budget()
        self.sync()

    @staticmethod
    def _pod(name: str, *, ready: bool) -> Obj:
        owner = {"kind": "ReplicaSet", "name": "web", "uid": "rs", "controller": True}
        meta = {"name": name, "namespace": "shop", "labels": {"app": "web"}, "ownerReferences": [owner]}
        # Those that come later are told from those that were sent away at noon by when they were made.
        meta["creationTimestamp"] = "2026-01-01T00:00:00Z" if ready else "2026-01-01T12:00:01Z"
        condition = {"type": "Ready", "status": "True" if ready else "False"}
        return {"metadata": meta, "status": {"phase": "Running", "conditions": [condition]}}

    def see_pods(self) -> None:
        self._seen_pods = [msgspec.convert(tree, Pod) for tree in self.pods.values()]

    def see_budget(self) -> None:
        self._seen_budget = msgspec.convert(self.budget, PodDisruptionBudget)
        self._seen_version = self.version

    def sync(self) -> None:
        owners: dict[str, Owner | str] = {"rs": Owner("d", self.size)}
        plan = decide(Snapshot(self._seen_budget, self._seen_pods, owners, NOW))
        if plan.status and self._seen_version == self.version:
            self.budget = merge_patch(self.budget, {"status": plan.status})
            self.version += 1

    def charge(self, name: str) -> None:
        """The first half of an eviction, as the API server does it."""
        pod = self.pods.get(name)
        if pod is None or name in self.charged or disruption_budgets.needs_no_budget(pod):
            return
        budget = copy.deepcopy(self.budget)
        (found,) = disruption_budgets.covering(pod, [budget])
        if disruption_budgets.bearing(pod, found) == "unhealthy":
            self.charged.add(name)
            self.delete(name)
            return
        try:
            disruption_budgets.spend(found, name, NOW)
        except ApiError:
            return
        self.budget = budget
        self.version += 1
        self.charged.add(name)

    def delete(self, name: str) -> None:
        """The second half."""
        if name in self.charged and name in self.pods:
            self.pods[name]["metadata"]["deletionTimestamp"] = "2026-01-01T12:00:00Z"

    def gone(self, name: str) -> None:
        if self.pods.get(name, {"metadata": {}})["metadata"].get("deletionTimestamp"):
            del self.pods[name]
            self.charged.discard(name)

    def replace(self, name: str) -> None:
        if name not in self.pods and len(self.pods) < self.size:
            self.pods[name] = self._pod(name, ready=False)

    def ready(self, name: str) -> None:
        if name in self.pods:
            self.pods[name]["status"]["conditions"][0]["status"] = "True"

    @property
    def healthy(self) -> int:
        """Ready pods that nobody was allowed to send away."""
        return sum(
            name not in self.charged and pod["status"]["conditions"][0]["status"] == "True"
            for name, pod in self.pods.items()
        )


@settings(max_examples=200, deadline=None)
@given(
    st.integers(1, 8),
    st.one_of(
        st.builds(lambda n: {"minAvailable": n}, st.integers(0, 8)),
        st.builds(lambda n: {"maxUnavailable": n}, st.integers(0, 8)),
        st.builds(lambda n: {"minAvailable": f"{n}%"}, st.integers(0, 100)),
        st.builds(lambda n: {"maxUnavailable": f"{n}%"}, st.integers(0, 100)),
    ),
    st.sampled_from(["AlwaysAllow", "IfHealthyBudget", None]),
    _STEPS,
)
def test_evictions_never_break_a_budget(
    size: int, spec: Obj, unhealthy: str | None, steps: list[tuple[str, int]]
) -> None:
    world = World(size, {**spec, **({"unhealthyPodEvictionPolicy": unhealthy} if unhealthy else {})})
    least = min(world.budget["status"]["desiredHealthy"], size)
    for step, number in steps:
        name = f"web-{number % size}"
        if step == "sync":
            world.sync()
        elif step == "see pods":
            world.see_pods()
        elif step == "see budget":
            world.see_budget()
        else:
            getattr(world, step)(name)
        assert world.healthy >= least


@settings(max_examples=50, deadline=None)
@given(st.integers(2, 8), st.integers(1, 4))
def test_a_drain_comes_to_an_end(size: int, unavailable: int) -> None:
    """With a controller that keeps up and pods that are replaced, every pod can be sent away in its turn."""
    world = World(size, {"maxUnavailable": unavailable})
    left = {f"web-{number}" for number in range(size)}
    for _ in range(size + 1):
        for name in sorted(left):
            world.charge(name)
            if name in world.charged:
                world.delete(name)
                world.gone(name)
                left.discard(name)
                world.replace(name)
        for name in list(world.pods):
            world.ready(name)
        world.see_pods()
        world.see_budget()
        world.sync()
    assert not left
