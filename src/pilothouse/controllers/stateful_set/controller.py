"""Carries out what `decide` says about StatefulSets."""

from __future__ import annotations

from pilothouse.client.shared import NAMESPACE, OWNER, without_owner
from pilothouse.controllers import history
from pilothouse.controllers.conditions import conditions_tree, with_failure
from pilothouse.controllers.context import Context
from pilothouse.controllers.ownership import claim, settle
from pilothouse.controllers.stateful_set.decide import Snapshot, decide
from pilothouse.controllers.stateful_set.identity import ordinal_of
from pilothouse.controllers.stateful_set.plan import Action, CreatePod, DeletePod, LabelPod, MakeClaim, OwnClaim, Plan
from pilothouse.kinds.apps.controller_revision import ControllerRevision
from pilothouse.kinds.apps.stateful_set import StatefulSet
from pilothouse.kinds.core.persistent_volume_claim import PersistentVolumeClaim
from pilothouse.kinds.core.pod import Pod
from pilothouse.kinds.view import to_tree
from pilothouse.machinery.errors import AlreadyExists, ApiError, Conflict, NotFound
from pilothouse.machinery.objects import Obj
from pilothouse.reconcile.labels import matches
from pilothouse.reconcile.queue import KeyedQueue, work

NAME = "statefulset-controller"
WORKERS = 4


async def run(context: Context) -> None:
    """Keeps every StatefulSet's pods and claims until cancelled."""
    controller = Controller(context)
    await context.informers.synced(StatefulSet, ControllerRevision, PersistentVolumeClaim, Pod)
    controller.subscribe()
    await work(NAME, controller.queue, controller.reconcile, workers=WORKERS)


class Controller:
    """Pods have names that follow from the set, so a stale copy can at worst make a request that is refused."""

    def __init__(self, context: Context) -> None:
        self._context = context
        self._client = context.client
        self._sets = context.informers.of(StatefulSet)
        self._revisions = context.informers.of(ControllerRevision)
        self._claims = context.informers.of(PersistentVolumeClaim)
        self._pods = context.informers.of(Pod)
        self.queue = KeyedQueue()

    def subscribe(self) -> None:
        self._sets.subscribe(lambda key, old, new: self.queue.add(key))
        self._pods.subscribe(self._owned_changed)
        self._revisions.subscribe(self._owned_changed)
        self._claims.subscribe(self._claim_changed)

    def _owned_changed(
        self, key: str, old: Pod | ControllerRevision | None, new: Pod | ControllerRevision | None
    ) -> None:
        for obj in (old, new):
            owner = obj.controller() if obj is not None else None
            if obj is not None and owner is not None and owner.kind == "StatefulSet":
                self.queue.add(f"{obj.namespace}/{owner.name}")
        if new is not None and new.controller() is None:
            for candidate in self._sets.by_index(NAMESPACE, new.namespace):
                if matches(candidate.spec.selector, new.metadata.labels):
                    self.queue.add(candidate.key)

    def _claim_changed(self, key: str, old: PersistentVolumeClaim | None, new: PersistentVolumeClaim | None) -> None:
        """A claim that has gone may be what a pod waits for; that one has come, nobody waits for."""
        gone = old if new is None else None
        if gone is None:
            return
        for candidate in self._sets.by_index(NAMESPACE, gone.namespace):
            if _may_own(candidate, gone.name):
                self.queue.add(candidate.key)

    async def reconcile(self, key: str) -> float | None:
        stateful_set = self._sets.get(key)
        if stateful_set is None or stateful_set.spec.selector is None:
            return None
        uid, nobody = stateful_set.metadata.uid, without_owner(stateful_set.namespace)
        pods = claim(
            stateful_set,
            stateful_set.spec.selector,
            [*self._pods.by_index(OWNER, uid), *self._pods.by_index(OWNER, nobody)],
            lambda pod: ordinal_of(stateful_set, pod) is not None,
        )
        revisions = claim(
            stateful_set,
            stateful_set.spec.selector,
            [*self._revisions.by_index(OWNER, uid), *self._revisions.by_index(OWNER, nobody)],
        )
        await settle(self._client, stateful_set, pods)
        await settle(self._client, stateful_set, revisions)
        claims: dict[str, PersistentVolumeClaim] = {}
        if stateful_set.spec.volume_claim_templates:
            every = self._claims.by_index(NAMESPACE, stateful_set.namespace)
            claims = {c.name: c for c in every if _may_own(stateful_set, c.name)}
        plan = decide(Snapshot(stateful_set, pods.owned, revisions.owned, claims, self._context.now()))
        return await self._carry_out(stateful_set, plan)

    async def _carry_out(self, stateful_set: StatefulSet, plan: Plan) -> float | None:
        if plan.revision is not None and not await history.write(self._client, stateful_set, plan.revision):
            count = (stateful_set.status.collision_count or 0) + 1
            await self._write_status(stateful_set, {"collisionCount": count})
            return None
        failure: ApiError | None = None
        try:
            for action in plan.actions:
                await self._act(stateful_set, action)
        except ApiError as error:
            failure = error
        # A stale copy is no refusal: the next pass sees the world as it is.
        refused = failure if not isinstance(failure, (Conflict, NotFound)) else None
        satisfied = not any(isinstance(action, (CreatePod, MakeClaim)) for action in plan.actions)
        conditions = with_failure(
            stateful_set.status.conditions,
            ("FailedCreate", refused.message) if refused is not None else None,
            satisfied,
            self._context.now(),
        )
        status = dict(plan.status)
        if conditions != stateful_set.status.conditions:
            status["conditions"] = conditions_tree(conditions)
        if status:
            await self._write_status(stateful_set, status)
        if failure is not None:
            raise failure
        await history.remove(self._client, plan.forget)
        return plan.again

    async def _write_status(self, stateful_set: StatefulSet, status: Obj) -> None:
        patch = {"metadata": {"uid": stateful_set.metadata.uid}, "status": status}
        try:
            await self._client.patch(
                StatefulSet, stateful_set.name, stateful_set.namespace, patch, subresource="status"
            )
        except NotFound:
            # Gone meanwhile, and the informer is about to say so.
            return

    async def _act(self, stateful_set: StatefulSet, action: Action) -> None:
        namespace = stateful_set.namespace
        match action:
            case MakeClaim():
                what = f"Claim {action.name} Pod {action.pod}"
                await self._create(stateful_set, PersistentVolumeClaim, action.tree, what, "success")
            case CreatePod():
                await self._create(stateful_set, Pod, action.tree, f"Pod {action.name}", "successful")
            case DeletePod():
                await self._delete(stateful_set, action)
            case OwnClaim(claim=owned, owners=owners):
                meta = owned.metadata
                change: Obj = {"uid": meta.uid, "resourceVersion": meta.resource_version}
                change["ownerReferences"] = [to_tree(ref) for ref in owners] or None
                await self._client.patch(PersistentVolumeClaim, owned.name, namespace, {"metadata": change})
            case LabelPod(pod=pod, labels=labels):
                change = {"uid": pod.metadata.uid, "labels": labels}
                await self._client.patch(Pod, pod.name, namespace, {"metadata": change})

    async def _create(
        self, stateful_set: StatefulSet, cls: type[Pod | PersistentVolumeClaim], tree: Obj, what: str, done: str
    ) -> None:
        events = self._context.events
        try:
            await self._client.create_tree(cls.resource, tree, stateful_set.namespace)
        except AlreadyExists:
            # Our own that the informer has yet to show; or a stranger's pod, which keeps the name until it is deleted.
            await self._check_owner(stateful_set, cls, tree["metadata"]["name"])
        except ApiError as error:
            message = f"create {what} in StatefulSet {stateful_set.name} failed error: {error.message}"
            events.event(stateful_set, "Warning", "FailedCreate", message)
            raise
        else:
            message = f"create {what} in StatefulSet {stateful_set.name} {done}"
            events.event(stateful_set, "Normal", "SuccessfulCreate", message)

    async def _check_owner(self, stateful_set: StatefulSet, cls: type[Pod | PersistentVolumeClaim], name: str) -> None:
        """A claim of that name may be anyone's, it is what the pod is to have; a pod must be the set's own."""
        if cls is not Pod:
            return
        existing = await self._client.find(Pod, name, stateful_set.namespace)
        owner = existing.controller() if existing is not None else None
        if existing is None or (owner is not None and owner.uid == stateful_set.metadata.uid):
            return
        message = f"pod {name} exists already and belongs to another; delete or rename it"
        self._context.events.event(stateful_set, "Warning", "FailedCreate", message)
        raise AlreadyExists(message)

    async def _delete(self, stateful_set: StatefulSet, action: DeletePod) -> None:
        pod, events = action.pod, self._context.events
        if action.ended:
            reason = "RecreatingFailedPod" if action.ended == "Failed" else "RecreatingTerminatedPod"
            again = f"StatefulSet {stateful_set.key} is recreating {action.ended.lower()} Pod {pod.name}"
            events.event(stateful_set, "Warning" if action.ended == "Failed" else "Normal", reason, again)
        try:
            await self._client.delete(Pod, pod.name, pod.namespace, uid=pod.metadata.uid)
        except NotFound:
            return
        except ApiError as error:
            message = f"delete Pod {pod.name} in StatefulSet {stateful_set.name} failed error: {error.message}"
            events.event(stateful_set, "Warning", "FailedDelete", message)
            raise
        message = f"delete Pod {pod.name} in StatefulSet {stateful_set.name} successful"
        events.event(stateful_set, "Normal", "SuccessfulDelete", message)


def _may_own(stateful_set: StatefulSet, claim: str) -> bool:
    """True for a name that one of the set's claim templates gives."""
    for template in stateful_set.spec.volume_claim_templates:
        name = (template.get("metadata") or {}).get("name", "")
        prefix = f"{name}-{stateful_set.name}-"
        if claim.startswith(prefix) and claim.removeprefix(prefix).isdigit():
            return True
    return False
