"""Carries out what `decide` says about Deployments."""

from __future__ import annotations

from pilothouse.client.shared import NAMESPACE, OWNER, without_owner
from pilothouse.controllers.conditions import conditions_tree
from pilothouse.controllers.context import Context
from pilothouse.controllers.deployment.decide import Snapshot, decide, find_new
from pilothouse.controllers.deployment.plan import Action, Annotate, Create, Plan, Remove, Scale
from pilothouse.controllers.ownership import claim, settle
from pilothouse.kinds.apps.deployment import Deployment
from pilothouse.kinds.apps.replica_set import ReplicaSet
from pilothouse.kinds.core.pod import Pod
from pilothouse.machinery.errors import AlreadyExists, ApiError, NotFound
from pilothouse.machinery.objects import Obj, timestamp
from pilothouse.reconcile.labels import matches
from pilothouse.reconcile.queue import KeyedQueue, work

NAME = "deployment-controller"
WORKERS = 4


async def run(context: Context) -> None:
    """Rolls out every Deployment until cancelled."""
    controller = Controller(context)
    await context.informers.synced(Deployment, ReplicaSet, Pod)
    controller.subscribe()
    await work(NAME, controller.queue, controller.reconcile, workers=WORKERS)


class Controller:
    def __init__(self, context: Context) -> None:
        self._context = context
        self._client = context.client
        self._deployments = context.informers.of(Deployment)
        self._sets = context.informers.of(ReplicaSet)
        self._pods = context.informers.of(Pod)
        self.queue = KeyedQueue()

    def subscribe(self) -> None:
        self._deployments.subscribe(lambda key, old, new: self.queue.add(key))
        self._sets.subscribe(self._set_changed)
        self._pods.subscribe(self._pod_changed)

    def _set_changed(self, key: str, old: ReplicaSet | None, new: ReplicaSet | None) -> None:
        for replica_set in (old, new):
            owner = replica_set.controller() if replica_set is not None else None
            if replica_set is not None and owner is not None and owner.kind == "Deployment":
                self.queue.add(f"{replica_set.namespace}/{owner.name}")
        if new is not None and new.controller() is None:
            for deployment in self._deployments.by_index(NAMESPACE, new.namespace):
                if matches(deployment.spec.selector, new.metadata.labels):
                    self.queue.add(deployment.key)

    def _pod_changed(self, key: str, old: Pod | None, new: Pod | None) -> None:
        """Strategy Recreate waits for the last old pod to be gone; other changes arrive through the ReplicaSet."""
        owner = old.controller() if old is not None and new is None else None
        if old is None or owner is None or owner.kind != "ReplicaSet":
            return
        replica_set = self._sets.get(f"{old.namespace}/{owner.name}")
        parent = replica_set.controller() if replica_set is not None else None
        if parent is not None and parent.kind == "Deployment":
            self.queue.add(f"{old.namespace}/{parent.name}")

    async def reconcile(self, key: str) -> float | None:
        deployment = self._deployments.get(key)
        if deployment is None or deployment.spec.selector is None:
            return None
        candidates = self._sets.by_index(OWNER, deployment.metadata.uid)
        candidates += self._sets.by_index(OWNER, without_owner(deployment.namespace))
        claimed = claim(deployment, deployment.spec.selector, candidates)
        await settle(self._client, deployment, claimed)
        pods: list[Pod] = []
        if deployment.spec.strategy.type == "Recreate":
            pods = [pod for rs in claimed.owned for pod in self._pods.by_index(OWNER, rs.metadata.uid)]
        plan = decide(Snapshot(deployment, claimed.owned, pods, self._context.now()))
        for action in plan.actions:
            await self._act(deployment, action)
        try:
            await self._write(deployment, plan)
        except NotFound:
            # Gone meanwhile, and the informer is about to say so.
            return None
        return plan.again

    async def _write(self, deployment: Deployment, plan: Plan) -> None:
        uid = deployment.metadata.uid
        if plan.annotations:
            await self._client.patch(
                Deployment,
                deployment.name,
                deployment.namespace,
                {"metadata": {"uid": uid, "annotations": plan.annotations}},
            )
        if plan.status:
            await self._write_status(deployment, plan.status)

    async def _write_status(self, deployment: Deployment, status: Obj) -> None:
        patch = {"metadata": {"uid": deployment.metadata.uid}, "status": status}
        await self._client.patch(Deployment, deployment.name, deployment.namespace, patch, subresource="status")

    async def _act(self, deployment: Deployment, action: Action) -> None:
        match action:
            case Create():
                await self._create(deployment, action)
            case Scale():
                await self._scale(deployment, action)
            case Annotate(replica_set=replica_set, annotations=annotations, min_ready_seconds=min_ready):
                change: Obj = {"metadata": {"uid": replica_set.metadata.uid, "annotations": annotations}}
                if min_ready is not None:
                    change["spec"] = {"minReadySeconds": min_ready or None}
                await self._client.patch(ReplicaSet, replica_set.name, replica_set.namespace, change)
            case Remove(replica_set=replica_set):
                meta = replica_set.metadata
                try:
                    await self._client.delete(
                        ReplicaSet, meta.name, meta.namespace, uid=meta.uid, resource_version=meta.resource_version
                    )
                except NotFound:
                    return

    async def _scale(self, deployment: Deployment, action: Scale) -> None:
        replica_set, meta = action.replica_set, action.replica_set.metadata
        patch = {
            # Conditional, so that a stale copy cannot undo a size that was decided later.
            "metadata": {
                "uid": meta.uid,
                "resourceVersion": meta.resource_version,
                "annotations": action.annotations,
            },
            "spec": {"replicas": action.replicas},
        }
        await self._client.patch(ReplicaSet, meta.name, meta.namespace, patch)
        if action.before != action.replicas:
            direction = "up" if action.replicas > action.before else "down"
            message = f"Scaled {direction} replica set {replica_set.name} from {action.before} to {action.replicas}"
            self._context.events.event(deployment, "Normal", "ScalingReplicaSet", message)

    async def _create(self, deployment: Deployment, action: Create) -> None:
        try:
            await self._client.create_tree(ReplicaSet.resource, action.tree, deployment.namespace)
        except AlreadyExists:
            await self._collided(deployment, action)
        except ApiError as error:
            await self._creation_failed(deployment, action, error)
            raise
        else:
            message = f"Scaled up replica set {action.name} from 0 to {action.replicas}"
            if action.replicas:
                self._context.events.event(deployment, "Normal", "ScalingReplicaSet", message)

    async def _collided(self, deployment: Deployment, action: Create) -> None:
        """The name is taken: by our own set that the informer has yet to show, or by another; then salts the hash."""
        existing = await self._client.find(ReplicaSet, action.name, deployment.namespace)
        if existing is None:
            return
        owner = existing.controller()
        ours = owner is not None and owner.uid == deployment.metadata.uid
        if ours and find_new(deployment, [existing]) is not None:
            return
        count = (deployment.status.collision_count or 0) + 1
        await self._write_status(deployment, {"collisionCount": count})

    async def _creation_failed(self, deployment: Deployment, action: Create, error: ApiError) -> None:
        message = f'Failed to create new replica set "{action.name}": {error.message}'
        self._context.events.event(deployment, "Warning", "ReplicaSetCreateError", message)
        now = timestamp(self._context.now())
        kept = [c for c in deployment.status.conditions if c.type != "Progressing"]
        old = next((c for c in deployment.status.conditions if c.type == "Progressing"), None)
        if old is not None and (old.reason, old.message) == ("ReplicaSetCreateError", message):
            return
        failed = {
            "type": "Progressing",
            "status": "False",
            "reason": "ReplicaSetCreateError",
            "message": message,
            "lastUpdateTime": now,
            "lastTransitionTime": now,
        }
        await self._write_status(deployment, {"conditions": [*(conditions_tree(kept) or []), failed]})
