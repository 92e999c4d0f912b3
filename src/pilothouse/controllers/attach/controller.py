"""Makes and deletes the VolumeAttachments that `decide` names, node by node, and tells pods how it went.

The attaching itself is the work of the driver's attacher (upstream's `external-attacher`), which watches them.
"""

from __future__ import annotations

import contextlib
import time

from pilothouse.client.shared import NAMESPACE, NODE
from pilothouse.controllers.attach.decide import FORCE_SECONDS, Plan, World, claim_names, decide
from pilothouse.controllers.context import Context
from pilothouse.kinds.core.node import Node
from pilothouse.kinds.core.persistent_volume import PersistentVolume
from pilothouse.kinds.core.persistent_volume_claim import PersistentVolumeClaim
from pilothouse.kinds.core.pod import Pod
from pilothouse.kinds.storage.csi_driver import CSIDriver
from pilothouse.kinds.storage.volume_attachment import VolumeAttachment
from pilothouse.machinery.errors import AlreadyExists, NotFound
from pilothouse.reconcile.csi import attachment_name
from pilothouse.reconcile.queue import KeyedQueue, work

NAME = "attachdetach-controller"
_BLOCKED_SECONDS = 30.0
"""Until a volume that another node has is asked for again, and told again."""


async def run(context: Context) -> None:
    """Attaches and detaches until cancelled."""
    controller = Controller(context)
    await context.informers.synced(Pod, PersistentVolumeClaim, PersistentVolume, Node, CSIDriver, VolumeAttachment)
    controller.subscribe()
    await work(NAME, controller.queue, controller.reconcile)


class Controller:
    """Its keys are the names of nodes."""

    def __init__(self, context: Context) -> None:
        self._context = context
        informers = context.informers
        self._pods = informers.of(Pod)
        self._claims = informers.of(PersistentVolumeClaim)
        self._volumes = informers.of(PersistentVolume)
        self._nodes = informers.of(Node)
        self._drivers = informers.of(CSIDriver)
        self._attachments = informers.of(VolumeAttachment)
        self.queue = KeyedQueue()
        self._to: dict[str, set[str]] = {}
        """Names of attachments by the node they are to."""
        self._holders: dict[str, set[str]] = {}
        """Nodes by the volume that is attached to them."""
        self._kept_since: dict[str, float] = {}
        self._blocked: dict[str, set[str]] = {}
        """Nodes that wait for a volume which another has."""
        self._told: dict[str, str] = {}

    def subscribe(self) -> None:
        self._pods.subscribe(self._pod_changed)
        self._claims.subscribe(self._claim_changed)
        self._volumes.subscribe(self._volume_changed)
        self._nodes.subscribe(self._node_changed)
        self._drivers.subscribe(lambda *_: self._wake_all())
        self._attachments.subscribe(self._attachment_changed)

    def _pod_changed(self, key: str, old: Pod | None, new: Pod | None) -> None:
        for pod in (old, new):
            if pod is not None and pod.spec.node_name and claim_names(pod):
                self.queue.add(pod.spec.node_name)

    def _claim_changed(self, key: str, old: PersistentVolumeClaim | None, new: PersistentVolumeClaim | None) -> None:
        if new is not None and (old is None or (old.status.phase, old.spec) != (new.status.phase, new.spec)):
            volume = self._volumes.get(new.spec.volume_name) if new.spec.volume_name else None
            if volume is not None and volume.spec.csi is not None:
                self._wake_users(volume)

    def _volume_changed(self, key: str, old: PersistentVolume | None, new: PersistentVolume | None) -> None:
        if new is not None and old is None and new.spec.csi is not None:
            self._wake_users(new)

    def _wake_users(self, volume: PersistentVolume) -> None:
        """Nodes with pods that may use it."""
        ref = volume.spec.claim_ref
        for pod in self._pods.by_index(NAMESPACE, ref.namespace) if ref is not None else ():
            if ref is not None and pod.spec.node_name and ref.name in claim_names(pod):
                self.queue.add(pod.spec.node_name)

    def _node_changed(self, key: str, old: Node | None, new: Node | None) -> None:
        if old is None or new is None or old.status.volumes_in_use != new.status.volumes_in_use:
            self.queue.add(key)
            return
        health = (old.spec.taints, old.status.conditions) != (new.spec.taints, new.status.conditions)
        if health and self._to.get(key):
            self.queue.add(key)

    def _attachment_changed(self, key: str, old: VolumeAttachment | None, new: VolumeAttachment | None) -> None:
        found = new or old
        if found is None:
            return
        node, volume = found.spec.node_name, found.spec.source.persistent_volume_name or ""
        self.queue.add(node)
        if new is not None:
            self._hold(key, volume, node)
        else:
            _drop(self._to, node, key)
            _drop(self._holders, volume, node)
            self._told.pop(key, None)
            self._kept_since.pop(key, None)
            for waiting in self._blocked.pop(volume, ()):
                self.queue.add(waiting)

    def _hold(self, attachment: str, volume: str, node: str) -> None:
        self._to.setdefault(node, set()).add(attachment)
        self._holders.setdefault(volume, set()).add(node)

    def _wake_all(self) -> None:
        for node in self._nodes:
            self.queue.add(node.name)

    async def reconcile(self, key: str) -> float | None:
        now = time.monotonic()
        waited = {name: now - since for name, since in self._kept_since.items()}
        found = [self._attachments.get(name) for name in sorted(self._to.get(key, ()))]
        world = World(
            self._claims.get,
            self._volumes.get,
            self._drivers.get,
            [attachment for attachment in found if attachment is not None],
            lambda volume: bool(self._holders.get(volume, set()) - {key}),
        )
        plan = decide(key, self._nodes.get(key), self._pods.by_index(NODE, key), world, waited)
        self._note(key, plan, now)
        for name, tree in plan.create.items():
            with contextlib.suppress(AlreadyExists):
                await self._context.client.create_tree(VolumeAttachment.resource, tree)
            # At once, not when the copy has it: by then another node could have been given the volume too.
            self._hold(name, tree["spec"]["source"]["persistentVolumeName"], key)
        for name in plan.delete:
            with contextlib.suppress(NotFound):
                await self._context.client.delete(VolumeAttachment, name)
        self._tell(key, plan)
        if plan.blocked:
            return _BLOCKED_SECONDS
        return FORCE_SECONDS if plan.kept else None

    def _note(self, node: str, plan: Plan, now: float) -> None:
        for name in self._to.get(node, set()) - set(plan.kept):
            self._kept_since.pop(name, None)
        for name in plan.kept:
            self._kept_since.setdefault(name, now)
        for name in plan.blocked:
            self._blocked.setdefault(name, set()).add(node)

    def _tell(self, node: str, plan: Plan) -> None:
        events = self._context.events
        for name in plan.blocked:
            for pod in plan.users[name]:
                message = (
                    f'Multi-Attach error for volume "{name}" Volume is already exclusively attached to one node and '
                    "can't be attached to another"
                )
                events.event(pod, "Warning", "FailedAttachVolume", message)
        for name, pods in plan.users.items():
            volume = self._volumes.get(name)
            source = volume.spec.csi if volume is not None else None
            found = source and self._attachments.get(attachment_name(source.volume_handle, source.driver, node))
            if not found:
                continue
            error = found.status.attach_error
            news = "attached" if found.status.attached else error.message if error is not None else ""
            if not news or self._told.get(found.name) == news:
                continue
            self._told[found.name] = news
            for pod in pods:
                if found.status.attached:
                    message = f'AttachVolume.Attach succeeded for volume "{name}"'
                    events.event(pod, "Normal", "SuccessfulAttachVolume", message)
                else:
                    message = f'AttachVolume.Attach failed for volume "{name}" : {news}'
                    events.event(pod, "Warning", "FailedAttachVolume", message)


def _drop(sets: dict[str, set[str]], key: str, member: str) -> None:
    found = sets.get(key, set())
    found.discard(member)
    if not found:
        sets.pop(key, None)
