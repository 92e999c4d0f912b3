"""Carries out what `decide` says about snapshots of local volumes, while their kinds are defined."""

from __future__ import annotations

import contextlib
from typing import Literal, cast

from pilothouse.controllers.context import Context
from pilothouse.controllers.volume_snapshot.decide import (
    ContentPlan,
    SnapshotPlan,
    World,
    for_content,
    for_snapshot,
)
from pilothouse.kinds.core.node import Node
from pilothouse.kinds.core.persistent_volume import PersistentVolume
from pilothouse.kinds.core.persistent_volume_claim import PersistentVolumeClaim
from pilothouse.kinds.view import Object
from pilothouse.machinery.errors import AlreadyExists, NotFound
from pilothouse.machinery.objects import Obj
from pilothouse.reconcile.defined_kinds import DefinedKinds
from pilothouse.reconcile.queue import KeyedQueue, work
from pilothouse.reconcile.snapshots import KINDS, VolumeSnapshot, VolumeSnapshotClass, VolumeSnapshotContent

NAME = "volume-snapshot-controller"
_TOGETHER_SECONDS = 0.05
_AGAIN_SECONDS = 30.0
"""Until a snapshot that failed is looked at again: nothing tells that there is room."""
_ALL = "all"


async def run(context: Context) -> None:
    """Keeps snapshots until cancelled."""
    controller = Controller(context)
    await context.informers.synced(PersistentVolume, PersistentVolumeClaim, Node)
    controller.subscribe()
    await controller.kinds.watch()
    await work(NAME, controller.queue, controller.reconcile)


class Controller:
    """All of them are looked at together: they are few, and hang on one another."""

    def __init__(self, context: Context) -> None:
        self._context = context
        self._client = context.client
        self._claims = context.informers.of(PersistentVolumeClaim)
        self._volumes = context.informers.of(PersistentVolume)
        self._nodes = context.informers.of(Node)
        self.queue = KeyedQueue()
        self.kinds = DefinedKinds(context.informers, KINDS, self._wake)

    def subscribe(self) -> None:
        self._claims.subscribe(lambda key, old, new: self._wake_if_any())
        self._volumes.subscribe(lambda key, old, new: self._wake_if_any())

    def _wake(self) -> None:
        self.queue.add_after(_ALL, _TOGETHER_SECONDS)

    def _wake_if_any(self) -> None:
        if any(self.kinds.serves(cls) for cls in KINDS):
            self._wake()

    async def reconcile(self, key: str) -> float | None:
        if not self.kinds.have(*KINDS):
            # A kind that has just been defined is listed soon.
            return 1.0 if any(self.kinds.serves(cls) for cls in KINDS) else None
        world = self._world()
        failed = False
        for snapshot in world.snapshots.values():
            plan = for_snapshot(snapshot, world, self._context.now())
            await self._snapshot(snapshot, plan)
            failed = failed or snapshot.status.error is not None or bool((plan.status or {}).get("error"))
        for content in world.contents.values():
            await self._content(content, for_content(content, world, self._context.now()))
        return _AGAIN_SECONDS if failed else None

    def _world(self) -> World:
        return World(
            {found.key: found for found in self.kinds.all(VolumeSnapshot)},
            {found.name: found for found in self.kinds.all(VolumeSnapshotContent)},
            self.kinds.all(VolumeSnapshotClass),
            {found.key: found for found in self._claims},
            {found.name: found for found in self._volumes},
            {found.name: found for found in self._nodes},
        )

    async def _snapshot(self, snapshot: VolumeSnapshot, plan: SnapshotPlan) -> None:
        if plan.finalizers is not None:
            await self._patch(snapshot, {"metadata": {"finalizers": plan.finalizers or None}})
        if plan.create is not None:
            with contextlib.suppress(AlreadyExists):
                await self._client.create_tree(VolumeSnapshotContent.resource, plan.create)
        if plan.bind is not None:
            await self._patch(plan.bind, {"spec": {"volumeSnapshotRef": {"uid": snapshot.metadata.uid}}})
        if plan.delete is not None:
            with contextlib.suppress(NotFound):
                await self._client.delete(VolumeSnapshotContent, plan.delete.name, uid=plan.delete.metadata.uid)
        if plan.status is not None:
            await self._patch(snapshot, {"status": plan.status}, "status")
        for type, reason, message in plan.events:
            self._context.events.event(snapshot, cast("Literal['Normal', 'Warning']", type), reason, message)

    async def _content(self, content: VolumeSnapshotContent, plan: ContentPlan) -> None:
        if plan.finalizers is not None:
            await self._patch(content, {"metadata": {"finalizers": plan.finalizers or None}})
        if plan.create is not None:
            with contextlib.suppress(AlreadyExists):
                await self._client.create_tree(PersistentVolume.resource, plan.create)
        if plan.delete is not None:
            with contextlib.suppress(NotFound):
                await self._client.delete(PersistentVolume, plan.delete.name, uid=plan.delete.metadata.uid)
        if plan.end:
            with contextlib.suppress(NotFound):
                await self._client.delete(VolumeSnapshotContent, content.name, uid=content.metadata.uid)
        if plan.status is not None:
            await self._patch(content, {"status": plan.status}, "status")

    async def _patch(self, found: Object, patch: Obj, subresource: str = "") -> None:
        meta = found.metadata
        patch = {**patch, "metadata": {"uid": meta.uid, **patch.get("metadata", {})}}
        with contextlib.suppress(NotFound):
            await self._client.patch(type(found), meta.name, meta.namespace or None, patch, subresource=subresource)
