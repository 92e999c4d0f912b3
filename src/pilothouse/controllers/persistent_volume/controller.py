"""Carries out what `claims` and `volumes` decide."""

from __future__ import annotations

import asyncio
import contextlib

from pilothouse.client.shared import NAMESPACE
from pilothouse.controllers.context import Context
from pilothouse.controllers.persistent_volume.claims import (
    BIND_COMPLETED,
    BOUND_BY_CONTROLLER,
    STORAGE_PROVISIONER,
    STORAGE_PROVISIONER_BETA,
    Bind,
    Entrust,
    Lose,
    Provision,
    Resize,
    SetClass,
    Steer,
    Step,
    Unselect,
    Wait,
    World,
    claim_reference,
    next_step,
)
from pilothouse.controllers.persistent_volume.protect import PVC_PROTECTION, claim_finalizers, claims_of, uses
from pilothouse.controllers.persistent_volume.sources import Snapshots
from pilothouse.controllers.persistent_volume.volumes import decide
from pilothouse.kinds.core.node import Node
from pilothouse.kinds.core.persistent_volume import PersistentVolume
from pilothouse.kinds.core.persistent_volume_claim import PersistentVolumeClaim
from pilothouse.kinds.core.pod import Pod
from pilothouse.kinds.storage.storage_class import StorageClass
from pilothouse.machinery.errors import AlreadyExists, NotFound
from pilothouse.machinery.objects import Obj
from pilothouse.reconcile.defined_kinds import DefinedKinds
from pilothouse.reconcile.queue import KeyedQueue, work
from pilothouse.reconcile.snapshots import SOURCE_NODE, VolumeSnapshot, VolumeSnapshotContent, is_filled
from pilothouse.reconcile.volumes import PROVISIONED_BY, SELECTED_NODE, claims

NAME = "persistent-volume-binder"
_HOSTNAME = "kubernetes.io/hostname"
_GROW_AGAIN = 60.0
"""Seconds until a claim that found no room to grow tries again: nothing else tells that there is room."""


async def run(context: Context) -> None:
    """Binds, provisions, protects and reclaims until cancelled."""
    controller = Controller(context)
    await context.informers.synced(PersistentVolume, PersistentVolumeClaim, StorageClass, Node, Pod)
    controller.subscribe()
    await controller.watch_snapshots()
    async with asyncio.TaskGroup() as group:
        # One worker for claims: two of them must not be bound to the same volume.
        group.create_task(work(NAME, controller.claims_queue, controller.reconcile_claim))
        group.create_task(work(NAME, controller.volumes_queue, controller.reconcile_volume))


class Controller:
    def __init__(self, context: Context) -> None:
        self._context = context
        self._client = context.client
        self._volumes = context.informers.of(PersistentVolume)
        self._claims = context.informers.of(PersistentVolumeClaim)
        self._classes = context.informers.of(StorageClass)
        self._nodes = context.informers.of(Node)
        self._pods = context.informers.of(Pod)
        self._snapshots = DefinedKinds(context.informers, (VolumeSnapshot, VolumeSnapshotContent), self._wake_filled)
        self.claims_queue = KeyedQueue()
        self.volumes_queue = KeyedQueue()

    def subscribe(self) -> None:
        self._claims.subscribe(self._claim_changed)
        self._volumes.subscribe(self._volume_changed)
        self._classes.subscribe(lambda key, old, new: self._wake_unbound())
        self._nodes.subscribe(self._node_changed)
        self._pods.subscribe(self._pod_changed)

    def _claim_changed(self, key: str, old: PersistentVolumeClaim | None, new: PersistentVolumeClaim | None) -> None:
        self.claims_queue.add(key)
        if old is None or new is None or old.status.phase != new.status.phase:
            self._wake_filled()
        for claim in (old, new):
            if claim is not None and claim.spec.volume_name:
                self.volumes_queue.add(claim.spec.volume_name)
        if new is None and old is not None:
            for volume in self._volumes:
                if claims(volume, old):
                    self.volumes_queue.add(volume.name)

    def _volume_changed(self, key: str, old: PersistentVolume | None, new: PersistentVolume | None) -> None:
        self.volumes_queue.add(key)
        ref = new.spec.claim_ref if new is not None else old.spec.claim_ref if old is not None else None
        if ref is not None:
            self.claims_queue.add(f"{ref.namespace}/{ref.name}")
        elif new is not None:
            self._wake_unbound()

    async def watch_snapshots(self) -> None:
        """Follows snapshots, if their kinds are defined."""
        await self._snapshots.watch()

    def _wake_filled(self) -> None:
        """A snapshot is another one: claims that wait for it are looked at."""
        for claim in self._claims:
            if claim.status.phase != "Bound" and claim.spec.data_source_ref is not None:
                self.claims_queue.add(claim.key)

    def _wake_unbound(self) -> None:
        for claim in self._claims:
            if claim.status.phase != "Bound":
                self.claims_queue.add(claim.key)

    def _node_changed(self, key: str, old: Node | None, new: Node | None) -> None:
        if new is None:
            for volume in self._volumes:
                if volume.metadata.deletion_timestamp is not None:
                    self.volumes_queue.add(volume.name)
        elif old is None:
            self._wake_unbound()

    def _pod_changed(self, key: str, old: Pod | None, new: Pod | None) -> None:
        """A claim that is being deleted may go when its last pod has ended."""
        pod = new or old
        if pod is not None and (new is None or new.status.phase in ("Succeeded", "Failed")):
            for name in claims_of(pod):
                self.claims_queue.add(f"{pod.namespace}/{name}")

    async def reconcile_claim(self, key: str) -> float | None:
        claim = self._claims.get(key)
        if claim is None:
            return None
        await self._protect(claim)
        if claim.metadata.deletion_timestamp is not None:
            return None
        step = next_step(claim, self._world())
        await self._take(claim, step)
        return _GROW_AGAIN if isinstance(step, Wait) and step.reason == "VolumeResizeFailed" else None

    def _world(self) -> World:
        snapshots = Snapshots(
            self._snapshots.have(VolumeSnapshot, VolumeSnapshotContent),
            {found.key: found for found in self._snapshots.all(VolumeSnapshot)},
            {found.name: found for found in self._snapshots.all(VolumeSnapshotContent)},
        )
        nodes = {node.name: node for node in self._nodes}
        claims = {claim.key: claim for claim in self._claims}
        return World(list(self._volumes), list(self._classes), nodes, claims, snapshots)

    async def _protect(self, claim: PersistentVolumeClaim) -> None:
        used = False
        if claim.metadata.deletion_timestamp is not None and PVC_PROTECTION in claim.metadata.finalizers:
            used = any(uses(pod, claim) for pod in self._pods.by_index(NAMESPACE, claim.namespace))
            if not used:
                # The copy may lag behind a pod just made, so the last word is the API's.
                live = await self._client.list(Pod, claim.namespace)
                used = any(uses(pod, claim) for pod in live.items)
        finalizers = claim_finalizers(claim, used=used)
        if finalizers != claim.metadata.finalizers:
            meta = claim.metadata
            change = {"uid": meta.uid, "resourceVersion": meta.resource_version, "finalizers": finalizers or None}
            try:
                fresh = await self._client.patch(PersistentVolumeClaim, meta.name, meta.namespace, {"metadata": change})
            except NotFound:
                return
            meta.resource_version, meta.finalizers = fresh.metadata.resource_version, fresh.metadata.finalizers

    async def _take(self, claim: PersistentVolumeClaim, step: Step) -> None:
        events = self._context.events
        match step:
            case Bind(volume=volume):
                await self._bind(claim, volume)
            case Provision(name=name, tree=tree):
                volume = await self._provision(name, tree)
                if is_filled(volume):
                    message = f"Successfully provisioned volume {name}"
                    events.event(claim, "Normal", "ProvisioningSucceeded", message)
                    await self._bind(claim, volume)
            case Steer(hostname=hostname):
                await self._patch_claim(claim, {"metadata": {"annotations": {SOURCE_NODE: hostname}}})
            case Resize(volume=volume, storage=storage):
                await self._resize(claim, volume, storage)
            case SetClass(name=name):
                await self._patch_claim(claim, {"spec": {"storageClassName": name}})
            case Entrust(provisioner=provisioner):
                annotations = {STORAGE_PROVISIONER: provisioner, STORAGE_PROVISIONER_BETA: provisioner}
                await self._patch_claim(claim, {"metadata": {"annotations": annotations}})
            case Lose(message=message):
                if claim.status.phase != "Lost":
                    events.event(claim, "Warning", "ClaimLost", message)
                    await self._write_status(claim, {"phase": "Lost", "capacity": None, "accessModes": None})
            case Unselect(message=message):
                events.event(claim, "Warning", "ProvisioningFailed", message)
                await self._patch_claim(claim, {"metadata": {"annotations": {SELECTED_NODE: None}}})
            case Wait(reason=reason, message=message, warning=warning):
                if reason:
                    events.event(claim, "Warning" if warning else "Normal", reason, message)
                    # One that is bound stays so while it waits to grow.
                    if claim.status.phase != "Pending" and claim.metadata.annotations.get(BIND_COMPLETED) != "yes":
                        await self._write_status(claim, {"phase": "Pending"})

    async def _provision(self, name: str, tree: Obj) -> PersistentVolume:
        # It exists if the answer to an earlier pass was lost: its name holds the claim's uid.
        with contextlib.suppress(AlreadyExists):
            await self._client.create_tree(PersistentVolume.resource, tree)
        return await self._client.get(PersistentVolume, name)

    async def _resize(self, claim: PersistentVolumeClaim, volume: PersistentVolume, storage: str) -> None:
        meta = volume.metadata
        patch: Obj = {"metadata": {"uid": meta.uid, "resourceVersion": meta.resource_version}}
        patch["spec"] = {"capacity": {"storage": storage}}
        volume = await self._client.patch(PersistentVolume, volume.name, None, patch)
        await self._write_status(claim, {"capacity": volume.spec.capacity})
        self._context.events.event(claim, "Normal", "VolumeResizeSuccessful", "Resize volume succeeded")

    async def _bind(self, claim: PersistentVolumeClaim, volume: PersistentVolume) -> None:
        ref = volume.spec.claim_ref
        if ref is None or ref.uid != claim.metadata.uid:
            meta = volume.metadata
            metadata: Obj = {"uid": meta.uid, "resourceVersion": meta.resource_version}
            if ref is None:
                metadata["annotations"] = {BOUND_BY_CONTROLLER: "yes"}
            patch = {"metadata": metadata, "spec": {"claimRef": claim_reference(claim)}}
            volume = await self._client.patch(PersistentVolume, volume.name, None, patch)
        annotations = {BIND_COMPLETED: "yes"}
        if not claim.spec.volume_name:
            annotations[BOUND_BY_CONTROLLER] = "yes"
        await self._patch_claim(claim, {"metadata": {"annotations": annotations}, "spec": {"volumeName": volume.name}})
        await self._write_status(
            claim,
            {"phase": "Bound", "accessModes": volume.spec.access_modes, "capacity": volume.spec.capacity},
        )

    async def _patch_claim(self, claim: PersistentVolumeClaim, patch: Obj) -> None:
        patch = {**patch, "metadata": {"uid": claim.metadata.uid, **patch.get("metadata", {})}}
        await self._client.patch(PersistentVolumeClaim, claim.name, claim.namespace, patch)

    async def _write_status(self, claim: PersistentVolumeClaim, status: Obj) -> None:
        patch = {"metadata": {"uid": claim.metadata.uid}, "status": status}
        await self._client.patch(PersistentVolumeClaim, claim.name, claim.namespace, patch, subresource="status")

    async def reconcile_volume(self, key: str) -> float | None:
        volume = self._volumes.get(key)
        if volume is None:
            return None
        claim = await self._claim_of(volume)
        hostnames = {node.metadata.labels.get(_HOSTNAME, node.name) for node in self._nodes}
        plan = decide(volume, claim, hostnames)
        meta = volume.metadata
        if plan.finalizers is not None:
            change = {"uid": meta.uid, "resourceVersion": meta.resource_version, "finalizers": plan.finalizers or None}
            try:
                volume = await self._client.patch(PersistentVolume, key, None, {"metadata": change})
            except NotFound:
                return None
        if meta.deletion_timestamp is None and (plan.phase, plan.message) != (
            volume.status.phase,
            volume.status.message,
        ):
            status = {"phase": plan.phase, "message": plan.message or None}
            patch = {"metadata": {"uid": meta.uid}, "status": status}
            await self._client.patch(PersistentVolume, key, None, patch, subresource="status")
            if plan.phase == "Failed":
                self._context.events.event(volume, "Warning", "VolumeFailedDelete", plan.message)
        if plan.delete and volume.metadata.annotations.get(PROVISIONED_BY):
            await self._client.delete(PersistentVolume, key, uid=meta.uid)
        return None

    async def _claim_of(self, volume: PersistentVolume) -> PersistentVolumeClaim | None:
        """The claim a volume names; one that seems gone is asked for, since data hangs on the answer."""
        ref = volume.spec.claim_ref
        if ref is None:
            return None
        known = self._claims.get(f"{ref.namespace}/{ref.name}")
        if known is not None and (not ref.uid or known.metadata.uid == ref.uid):
            return known
        return await self._client.find(PersistentVolumeClaim, ref.name, ref.namespace)
