"""Makes the claims that `decide` names, when a pod comes or such a claim goes."""

from __future__ import annotations

from pilothouse.controllers.context import Context
from pilothouse.controllers.ephemeral_volume.decide import claim_names, conflict, decide, is_owned
from pilothouse.kinds.core.persistent_volume_claim import PersistentVolumeClaim
from pilothouse.kinds.core.pod import Pod
from pilothouse.machinery.errors import AlreadyExists, ApiError
from pilothouse.machinery.objects import Obj
from pilothouse.reconcile.queue import KeyedQueue, work

NAME = "ephemeral-volume-controller"
_REASON = "EphemeralVolume"
_LOOK_AGAIN_SECONDS = 30.0
"""A foreign claim in the way is looked at again, and told again, after this long."""


async def run(context: Context) -> None:
    """Makes claims until cancelled."""
    controller = Controller(context)
    await context.informers.synced(PersistentVolumeClaim, Pod)
    controller.subscribe()
    await work(NAME, controller.queue, controller.reconcile)


class Controller:
    def __init__(self, context: Context) -> None:
        self._context = context
        self._claims = context.informers.of(PersistentVolumeClaim)
        self._pods = context.informers.of(Pod)
        self.queue = KeyedQueue()

    def subscribe(self) -> None:
        self._pods.subscribe(self._pod_changed)
        self._claims.subscribe(self._claim_changed)

    def _pod_changed(self, key: str, old: Pod | None, new: Pod | None) -> None:
        if new is not None and old is None and claim_names(new):
            self.queue.add(key)

    def _claim_changed(self, key: str, old: PersistentVolumeClaim | None, new: PersistentVolumeClaim | None) -> None:
        """A claim has gone: its pod may need it anew, or may have waited for the foreign one to go."""
        if old is None or new is not None:
            return
        owner = old.controller()
        if owner is not None and owner.kind == "Pod":
            self.queue.add(f"{old.namespace}/{owner.name}")

    async def reconcile(self, key: str) -> float | None:
        pod = self._pods.get(key)
        if pod is None:
            return None
        found = {name: self._claims.get(f"{pod.namespace}/{name}") for name in claim_names(pod).values()}
        plan = decide(pod, {name: claim for name, claim in found.items() if claim is not None})
        conflicts = list(plan.conflicts)
        for name, tree in plan.create.items():
            if not await self._create(pod, name, tree):
                conflicts.append(conflict(name, pod))
        for message in conflicts:
            self._context.events.event(pod, "Warning", _REASON, message)
        return _LOOK_AGAIN_SECONDS if conflicts else None

    async def _create(self, pod: Pod, name: str, tree: Obj) -> bool:
        """False when a claim of that name belongs to another."""
        try:
            await self._context.client.create_tree(PersistentVolumeClaim.resource, tree, pod.namespace)
        except AlreadyExists:
            existing = await self._context.client.find(PersistentVolumeClaim, name, pod.namespace)
            return existing is None or is_owned(existing, pod)
        except ApiError as error:
            message = f"ephemeral volume claim {name} could not be created: {error.message}"
            self._context.events.event(pod, "Warning", _REASON, message)
            raise
        return True
