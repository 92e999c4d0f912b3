"""Carries out what `decide` says about PodDisruptionBudgets."""

from __future__ import annotations

from pilothouse.client.shared import NAMESPACE
from pilothouse.controllers.context import Context
from pilothouse.controllers.disruption.decide import Owner, Plan, Snapshot, decide, stale_in
from pilothouse.controllers.pods import is_ready
from pilothouse.controllers.scaling import CannotScale, ScaleTargets
from pilothouse.kinds.apps.deployment import Deployment
from pilothouse.kinds.apps.replica_set import ReplicaSet
from pilothouse.kinds.apps.stateful_set import StatefulSet
from pilothouse.kinds.core.pod import Pod
from pilothouse.kinds.core.replication_controller import ReplicationController
from pilothouse.kinds.policy.pod_disruption_budget import PodDisruptionBudget
from pilothouse.kinds.view import OwnerReference
from pilothouse.machinery.errors import ApiError, NotFound
from pilothouse.machinery.objects import Obj, timestamp
from pilothouse.reconcile.labels import matches
from pilothouse.reconcile.queue import KeyedQueue, work

NAME = "disruption-controller"
_STALE = "pod:"
"""Keys of pods in the queue; those of budgets have no prefix."""
_TOGETHER_SECONDS = 0.05
"""Changes of pods that come together are counted together."""
Sized = Deployment | ReplicaSet | StatefulSet | ReplicationController


async def run(context: Context) -> None:
    """Keeps the status of every budget until cancelled."""
    controller = Controller(context)
    await context.informers.synced(PodDisruptionBudget, Pod, Deployment, ReplicaSet, StatefulSet, ReplicationController)
    controller.subscribe()
    await work(NAME, controller.queue, controller.reconcile, workers=2)


class Controller:
    def __init__(self, context: Context) -> None:
        self._context = context
        informers = context.informers
        self._budgets = informers.of(PodDisruptionBudget)
        self._pods = informers.of(Pod)
        self._deployments = informers.of(Deployment)
        self._sets = informers.of(ReplicaSet)
        self._stateful = informers.of(StatefulSet)
        self._replication = informers.of(ReplicationController)
        self._targets = ScaleTargets(context.client)
        self.queue = KeyedQueue()

    def subscribe(self) -> None:
        self._budgets.subscribe(lambda key, old, new: self.queue.add(key))
        self._pods.subscribe(self._pod_changed)
        self._deployments.subscribe(self._owner_changed)
        self._sets.subscribe(self._owner_changed)
        self._stateful.subscribe(self._owner_changed)
        self._replication.subscribe(self._owner_changed)

    def _pod_changed(self, key: str, old: Pod | None, new: Pod | None) -> None:
        if old is None or new is None or _shows(old) != _shows(new):
            for pod in (old, new):
                for budget in self._covering(pod) if pod is not None else ():
                    self.queue.add_after(budget.key, _TOGETHER_SECONDS)
        if new is not None and (wait := stale_in(new, self._context.now())) is not None:
            self.queue.add_after(_STALE + key, wait)

    def _covering(self, pod: Pod) -> list[PodDisruptionBudget]:
        return [
            budget
            for budget in self._budgets.by_index(NAMESPACE, pod.namespace)
            if matches(budget.spec.selector, pod.metadata.labels)
        ]

    def _owner_changed(self, key: str, old: Sized | None, new: Sized | None) -> None:
        """Its size is what a percentage is taken of."""
        if old is not None and new is not None and old.spec.replicas == new.spec.replicas:
            return
        for budget in self._budgets.by_index(NAMESPACE, key.partition("/")[0]):
            self.queue.add(budget.key)

    async def reconcile(self, key: str) -> float | None:
        if key.startswith(_STALE):
            return await self._unmark(key.removeprefix(_STALE))
        budget = self._budgets.get(key)
        if budget is None or budget.metadata.deletion_timestamp is not None:
            return None
        mates = self._pods.by_index(NAMESPACE, budget.namespace)
        pods = [pod for pod in mates if matches(budget.spec.selector, pod.metadata.labels)]
        plan = decide(Snapshot(budget, pods, await self._owners(budget, pods), self._context.now()))
        await self._carry_out(budget, pods, plan)
        return plan.again

    async def _owners(self, budget: PodDisruptionBudget, pods: list[Pod]) -> dict[str, Owner | str]:
        """By the uid of each pod's controlling owner."""
        if budget.spec.max_unavailable is None and not isinstance(budget.spec.min_available, str):
            return {}
        found: dict[str, Owner | str] = {}
        for pod in pods:
            ref = pod.controller()
            if ref is not None and ref.uid not in found:
                owner = await self._owner(ref, pod.namespace)
                if owner is not None:
                    found[ref.uid] = owner
        return found

    async def _owner(self, ref: OwnerReference, namespace: str) -> Owner | str | None:
        """Who decides how many such pods there are; text when nobody can say, None when the owner is gone."""
        key = f"{namespace}/{ref.name}"
        if ref.kind == "ReplicaSet" and (replica_set := self._sets.get(key)) is not None:
            parent = replica_set.controller()
            deployment = self._deployments.get(f"{namespace}/{parent.name}") if parent is not None else None
            if deployment is not None and parent is not None and deployment.metadata.uid == parent.uid:
                return _sized(deployment)
            return _sized(replica_set) if replica_set.metadata.uid == ref.uid else None
        if ref.kind in ("StatefulSet", "ReplicationController"):
            owner = self._stateful.get(key) if ref.kind == "StatefulSet" else self._replication.get(key)
            return _sized(owner) if owner is not None and owner.metadata.uid == ref.uid else None
        try:
            scale = await self._targets.get(ref.api_version, ref.kind, namespace, ref.name)
        except NotFound:
            return None
        except (CannotScale, ApiError) as error:
            return str(error)
        return Owner(ref.uid, scale.wanted) if scale.uid == ref.uid else None

    async def _carry_out(self, budget: PodDisruptionBudget, pods: list[Pod], plan: Plan) -> None:
        for pod in plan.overdue:
            message = f"Pod was expected by PDB {budget.namespace}/{budget.name} to be deleted but it wasn't"
            self._context.events.event(pod, "Warning", "NotDeleted", message)
        if not plan.status:
            return
        meta = budget.metadata
        # On the condition that no eviction was granted meanwhile: else it would be forgotten.
        patch = {"metadata": {"uid": meta.uid, "resourceVersion": meta.resource_version}, "status": plan.status}
        try:
            await self._context.client.patch(
                PodDisruptionBudget, budget.name, budget.namespace, patch, subresource="status"
            )
        except NotFound:
            return
        for note in plan.notes:
            self._context.events.event(budget, note.type, note.reason, note.message)
        self._name_rivals(pods)

    def _name_rivals(self, pods: list[Pod]) -> None:
        """A pod under several budgets cannot be evicted at all, which nobody sees before a drain."""
        for pod in pods:
            if len(rivals := self._covering(pod)) > 1:
                name = min(rival.name for rival in rivals)
                message = (
                    f'Pod "{pod.namespace}"/"{pod.name}" matches multiple PodDisruptionBudgets.'
                    f'  Chose "{name}" arbitrarily.'
                )
                self._context.events.event(pod, "Warning", "MultiplePodDisruptionBudgets", message)

    async def _unmark(self, key: str) -> float | None:
        """Takes the condition DisruptionTarget back from a pod that was not disrupted after all."""
        pod = self._pods.get(key)
        wait = stale_in(pod, self._context.now()) if pod is not None else None
        if pod is None or wait is None:
            return None
        if wait > 0:
            return wait
        condition: Obj = {"type": "DisruptionTarget", "status": "False", "reason": "", "message": ""}
        condition["lastTransitionTime"] = timestamp(self._context.now())
        meta = pod.metadata
        patch = {
            "metadata": {"uid": meta.uid, "resourceVersion": meta.resource_version},
            "status": {"conditions": [condition]},
        }
        try:
            await self._context.client.patch(
                Pod, pod.name, pod.namespace, patch, type="strategic", subresource="status"
            )
        except NotFound:
            return None
        return None


def _shows(pod: Pod) -> tuple[object, ...]:
    """What of a pod a budget depends on."""
    meta = pod.metadata
    return meta.uid, meta.labels, meta.deletion_timestamp, is_ready(pod)


def _sized(owner: Sized) -> Owner:
    return Owner(owner.metadata.uid, 1 if owner.spec.replicas is None else owner.spec.replicas)
