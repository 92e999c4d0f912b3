"""Carries out what `decide` says about DaemonSets."""

from __future__ import annotations

from pilothouse.client.shared import NAMESPACE, OWNER, without_owner
from pilothouse.controllers import history
from pilothouse.controllers.conditions import conditions_tree, with_failure
from pilothouse.controllers.context import Context
from pilothouse.controllers.daemon_set.decide import Snapshot, decide
from pilothouse.controllers.daemon_set.placement import node_of, on_node, pod_spec
from pilothouse.controllers.daemon_set.plan import Plan
from pilothouse.controllers.daemon_set.replacements import Replacements
from pilothouse.controllers.ownership import claim, settle
from pilothouse.controllers.pending import Pending
from pilothouse.controllers.pod_control import Failure, PodControl, new_pod
from pilothouse.controllers.pods import is_terminal
from pilothouse.controllers.revisions import HASH
from pilothouse.kinds.apps.controller_revision import ControllerRevision
from pilothouse.kinds.apps.daemon_set import DaemonSet
from pilothouse.kinds.core.node import Node
from pilothouse.kinds.core.pod import Pod
from pilothouse.machinery.errors import Conflict, NotFound
from pilothouse.machinery.objects import Obj
from pilothouse.reconcile.labels import matches
from pilothouse.reconcile.queue import KeyedQueue, work

NAME = "daemon-set-controller"
WORKERS = 2


async def run(context: Context) -> None:
    """Keeps every DaemonSet's pods on their nodes until cancelled."""
    controller = Controller(context)
    await context.informers.synced(DaemonSet, ControllerRevision, Node, Pod)
    controller.subscribe()
    await work(NAME, controller.queue, controller.reconcile, workers=WORKERS)


class Controller:
    def __init__(self, context: Context) -> None:
        self._context = context
        self._client = context.client
        self._sets = context.informers.of(DaemonSet)
        self._revisions = context.informers.of(ControllerRevision)
        self._nodes = context.informers.of(Node)
        self._pods = context.informers.of(Pod)
        self._pending = Pending()
        self._control = PodControl(context, self._pending)
        self._replacements = Replacements()
        self.queue = KeyedQueue()

    def subscribe(self) -> None:
        self._sets.subscribe(self._set_changed)
        self._nodes.subscribe(self._node_changed)
        self._pods.subscribe(self._pod_changed)
        self._revisions.subscribe(self._revision_changed)

    def _set_changed(self, key: str, old: DaemonSet | None, new: DaemonSet | None) -> None:
        if new is None and old is not None:
            self._pending.forget(old.metadata.uid)
            self._replacements.forget(old.metadata.uid)
        self.queue.add(key)

    def _node_changed(self, key: str, old: Node | None, new: Node | None) -> None:
        """Only what decides about placement matters; a node's status changes all the time."""
        if old is not None and new is not None:
            same_taints = old.spec.taints == new.spec.taints
            if same_taints and old.metadata.labels == new.metadata.labels:
                return
        for daemon_set in self._sets:
            self.queue.add(daemon_set.key)

    def _pod_changed(self, key: str, old: Pod | None, new: Pod | None) -> None:
        for pod in (old, new):
            owner = pod.controller() if pod is not None else None
            if pod is not None and owner is not None and owner.kind == "DaemonSet":
                if new is None or new.metadata.deletion_timestamp is not None:
                    self._pending.gone(owner.uid, key)
                else:
                    self._pending.seen(owner.uid, key)
                self.queue.add(f"{pod.namespace}/{owner.name}")
        if new is not None and new.controller() is None:
            self._add_selecting(new)

    def _revision_changed(self, key: str, old: ControllerRevision | None, new: ControllerRevision | None) -> None:
        for revision in (old, new):
            owner = revision.controller() if revision is not None else None
            if revision is not None and owner is not None and owner.kind == "DaemonSet":
                self.queue.add(f"{revision.namespace}/{owner.name}")
        if new is not None and new.controller() is None:
            self._add_selecting(new)

    def _add_selecting(self, orphan: Pod | ControllerRevision) -> None:
        for candidate in self._sets.by_index(NAMESPACE, orphan.namespace):
            if matches(candidate.spec.selector, orphan.metadata.labels):
                self.queue.add(candidate.key)

    async def reconcile(self, key: str) -> float | None:
        daemon_set = self._sets.get(key)
        if daemon_set is None or daemon_set.spec.selector is None:
            return None
        uid, nobody = daemon_set.metadata.uid, without_owner(daemon_set.namespace)
        selector = daemon_set.spec.selector
        candidates = [*self._pods.by_index(OWNER, uid), *self._pods.by_index(OWNER, nobody)]
        pods = claim(daemon_set, selector, candidates, lambda pod: bool(node_of(pod)))
        kept = [*self._revisions.by_index(OWNER, uid), *self._revisions.by_index(OWNER, nobody)]
        revisions = claim(daemon_set, selector, kept)
        await settle(self._client, daemon_set, pods)
        await settle(self._client, daemon_set, revisions)
        held = {pod.name: self._replacements.wait(uid, node_of(pod)) for pod in pods.owned if is_terminal(pod)}
        plan = decide(
            Snapshot(
                daemon_set,
                pods.owned,
                list(self._nodes),
                revisions.owned,
                self._context.now(),
                held,
                may_scale=not self._pending.outstanding(uid),
            )
        )
        return await self._carry_out(daemon_set, plan)

    async def _carry_out(self, daemon_set: DaemonSet, plan: Plan) -> float | None:
        if plan.revision is not None and not await history.write(self._client, daemon_set, plan.revision):
            count = (daemon_set.status.collision_count or 0) + 1
            await self._write_status(daemon_set, {"collisionCount": count})
            return None
        failure = await self._scale(daemon_set, plan)
        # A stale copy is no refusal: the next pass sees the world as it is.
        refused = failure if failure is not None and not isinstance(failure.error, Conflict) else None
        old = daemon_set.status.conditions
        conditions = with_failure(old, refused and refused[:2], not plan.create, self._context.now())
        status = dict(plan.status)
        if conditions != old:
            status["conditions"] = conditions_tree(conditions)
        if status:
            await self._write_status(daemon_set, status)
        if failure is not None:
            raise failure.error
        await history.remove(self._client, plan.forget)
        return plan.again

    async def _scale(self, daemon_set: DaemonSet, plan: Plan) -> Failure | None:
        for item in plan.delete:
            if item.ended:
                self._tell_ended(daemon_set, item.pod, item.ended)
        failure = await self._control.delete(daemon_set, [item.pod for item in plan.delete])
        made = await self._control.create(
            daemon_set, len(plan.create), lambda index: _tree(daemon_set, plan.hash, plan.create[index])
        )
        return made or failure

    def _tell_ended(self, daemon_set: DaemonSet, pod: Pod, phase: str) -> None:
        node, events = node_of(pod), self._context.events
        self._replacements.replaced(daemon_set.metadata.uid, node)
        if phase == "Failed":
            message = f"Found failed daemon pod {pod.key} on node {node}, will try to kill it"
            events.event(daemon_set, "Warning", "FailedDaemonPod", message)
        else:
            message = f"Found succeeded daemon pod {pod.key} on node {node}, will try to delete it"
            events.event(daemon_set, "Normal", "SucceededDaemonPod", message)

    async def _write_status(self, daemon_set: DaemonSet, status: Obj) -> None:
        patch = {"metadata": {"uid": daemon_set.metadata.uid}, "status": status}
        try:
            await self._client.patch(DaemonSet, daemon_set.name, daemon_set.namespace, patch, subresource="status")
        except NotFound:
            # Gone meanwhile, and the informer is about to say so.
            return


def _tree(daemon_set: DaemonSet, digest: str, node: str) -> Obj:
    """The pod for that node."""
    template = daemon_set.spec.template
    meta = template.get("metadata") or {}
    labels = {**(meta.get("labels") or {}), HASH: digest}
    spec = on_node(pod_spec(template), node)
    return new_pod(daemon_set, {"metadata": {**meta, "labels": labels}, "spec": spec})
