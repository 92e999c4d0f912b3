"""Stages and publishes volumes for pods, and undoes it. Everything may be called again: drivers have to bear that."""

from __future__ import annotations

import asyncio
import contextlib
import weakref
from collections.abc import Callable, Coroutine, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import msgspec

from pilothouse.client.client import Client
from pilothouse.client.informer import Informer
from pilothouse.kinds.core.pod import Pod
from pilothouse.kinds.storage.csi_driver import CSIDriver
from pilothouse.linux.mounts import is_mount_point
from pilothouse.machinery.errors import ServiceUnavailable
from pilothouse.node.csi.attachment import attached
from pilothouse.node.csi.driver import Driver, DriverError
from pilothouse.node.csi.expand import Expansion
from pilothouse.node.csi.in_use import InUse
from pilothouse.node.csi.paths import CsiLayout, Record, forget, keep
from pilothouse.node.csi.patience import NotYet, Patience
from pilothouse.node.csi.plan import STAGES, Wanted, capability, check_mode, gives_group, must_attach, volume_context
from pilothouse.node.csi.registry import Registry
from pilothouse.node.csi.secrets import secret_data, token_texts
from pilothouse.node.references import References
from pilothouse.node.volumes.payload import VolumeError
from pilothouse.node.volumes.tokens import Tokens
from pilothouse.node.volumes.unfinished import Unfinished
from pilothouse.node.wire import csi_pb2 as wire

_SYNC_SECONDS = 10.0


@dataclass(frozen=True, slots=True)
class Published:
    """Where the pod's mount or device is; whether its files are given to the pod's group by the node; whether the
    driver wants to be asked again and again."""

    path: Path
    gives_group: bool
    again: bool


class CsiVolumes:
    """`unused` is called when a volume may have lost its last user, `finished` with a pod's uid when what was
    waited for in vain is done."""

    def __init__(
        self,
        client: Client,
        references: References,
        layout: CsiLayout,
        registry: Registry,
        drivers: Informer[CSIDriver],
        node_name: str,
        unused: Callable[[], None],
        finished: Callable[[str], None],
    ) -> None:
        self._client = client
        self._references = references
        self._layout = layout
        self._registry = registry
        self._drivers = drivers
        self._tokens = Tokens(client)
        self._unused = unused
        self.node_name = node_name
        self.expansion = Expansion(client, references, layout, registry)
        self.in_use = InUse(client, layout, node_name)
        self._setting_up: Patience[Published] = Patience(finished)
        self._taking_down: Patience[None] = Patience(finished)
        self._waits_for: dict[Path, str] = {}
        """What is waited for, in words."""
        self._mounting: set[asyncio.Task[Published]] = set()
        self._staged: set[Path] = set()
        self._published: dict[Path, Published] = {}
        """What this process has had staged and published."""
        self._turns: weakref.WeakValueDictionary[tuple[str, str], asyncio.Lock] = weakref.WeakValueDictionary()

    async def set_up(self, pod: Pod, wanted: Wanted, group: int | None) -> Published:
        """Has the volume mounted for the pod. Raises VolumeError, ApiError, OSError."""
        target = self._layout.target(pod.metadata.uid, wanted.record)
        known = self._published.get(target)
        if known is not None and not known.again:
            return known
        try:
            return await self._setting_up.outcome(
                (pod.metadata.uid, str(target)), lambda: self._set_up(pod, wanted, group, target)
            )
        except NotYet as error:
            what = f"volume {wanted.record.name} of driver {wanted.record.driver}"
            why = self._waits_for.get(target, "its driver has not answered yet")
            raise Unfinished(f"{what} is still being mounted: {why}", error.seconds) from None
        finally:
            if target in self._published:
                self._waits_for.pop(target, None)

    async def _set_up(self, pod: Pod, wanted: Wanted, group: int | None, target: Path) -> Published:
        self._waits_for[target] = "its driver has not answered yet"
        driver = await self._registry.get(wanted.record.driver)
        described = await self._described(wanted.record.driver)
        check_mode(wanted, described)
        abilities = await driver.abilities()
        again = described is not None and described.spec.requires_republish
        publish_context: dict[str, str] = {}
        if must_attach(wanted, described):
            self._waits_for[target] = f"it is not attached yet (VolumeAttachment {wanted.record.attachment})"
            publish_context = await attached(self._client, wanted.record)
            self._waits_for[target] = "its driver has not answered yet"
        else:
            wanted = replace(wanted, record=msgspec.structs.replace(wanted.record, attachment=""))
        use = capability(wanted, abilities, group)

        async def mount() -> Published:
            async with self._turn(wanted.record):
                staging = ""
                if STAGES in abilities and not wanted.ephemeral:
                    staging = str(self._layout.staging(wanted.record))
                    await self._stage(pod, driver, wanted, publish_context, use)
                await self._publish(pod, driver, wanted, described, publish_context, staging, use)
                published = Published(target, gives_group(wanted, described, abilities, group), again)
                self._published[target] = published
            return published

        return await self._to_its_end(mount())

    async def _to_its_end(self, work: Coroutine[Any, Any, Published]) -> Published:
        """Runs to its end although it is not wanted any more: a driver must not mount after it was asked to unmount."""
        task = asyncio.create_task(work)
        self._mounting.add(task)
        task.add_done_callback(self._mounting.discard)
        try:
            return await asyncio.shield(task)
        except asyncio.CancelledError:
            await asyncio.wait([task])
            if not task.cancelled():
                task.exception()
            raise

    async def _described(self, name: str) -> CSIDriver | None:
        try:
            async with asyncio.timeout(_SYNC_SECONDS):
                await self._drivers.synced()
        except TimeoutError:
            raise ServiceUnavailable("CSIDrivers cannot be read: no answer") from None
        return self._drivers.get(name)

    async def _stage(
        self,
        pod: Pod,
        driver: Driver,
        wanted: Wanted,
        publish_context: Mapping[str, str],
        use: wire.VolumeCapability,
    ) -> None:
        record = wanted.record
        staging, data = self._layout.staging(record), self._layout.staged_data(record)
        if staging in self._staged:
            return
        secrets = await secret_data(self._references, pod.metadata.uid, wanted.stage_secret)
        await asyncio.to_thread(keep, data, record)
        await self.in_use.tell()
        await asyncio.to_thread(staging.mkdir, 0o750, True, True)
        request = wire.NodeStageVolumeRequest(
            volume_id=record.handle,
            publish_context=publish_context,
            staging_target_path=str(staging),
            volume_capability=use,
            secrets=secrets,
            volume_context=wanted.attributes,
        )
        try:
            await driver.call("NodeStageVolume", request, wire.NodeStageVolumeResponse)
        except DriverError as error:
            if error.sure and not await asyncio.to_thread(self._layout.users, record):
                await asyncio.to_thread(_forget_unmounted, staging, data)
            raise
        self._staged.add(staging)

    async def _publish(
        self,
        pod: Pod,
        driver: Driver,
        wanted: Wanted,
        described: CSIDriver | None,
        publish_context: Mapping[str, str],
        staging: str,
        use: wire.VolumeCapability,
    ) -> None:
        uid, record = pod.metadata.uid, wanted.record
        target, data = self._layout.target(uid, record), self._layout.target_data(uid, record)
        secrets = await secret_data(self._references, uid, wanted.publish_secret)
        tokens = await token_texts(self._tokens, pod, described)
        await asyncio.to_thread(keep, data, record)
        await self.in_use.tell()
        await asyncio.to_thread(target.parent.mkdir, 0o750, True, True)
        request = wire.NodePublishVolumeRequest(
            volume_id=record.handle,
            publish_context=publish_context,
            staging_target_path=staging,
            target_path=str(target),
            volume_capability=use,
            readonly=wanted.read_only,
            secrets=secrets,
            volume_context=volume_context(wanted, pod, described, tokens),
        )
        try:
            await driver.call("NodePublishVolume", request, wire.NodePublishVolumeResponse)
        except DriverError as error:
            # What the driver has certainly not done needs no undoing, so its record goes.
            if error.sure and target not in self._published:
                await asyncio.to_thread(_forget_unmounted, target, data)
            raise

    def intact(self, uid: str) -> bool:
        """Whether everything on record for a pod is still mounted (no reboot took it)."""
        return all(
            target.exists() if record.block else is_mount_point(target)
            for record in self._layout.published(uid)
            for target in (self._layout.target(uid, record),)
        )

    async def take_down(self, uid: str) -> None:
        """Has everything of the pod unmounted. Raises OSError, which names what stays."""
        try:
            await self._setting_up.cancel(uid)
            await self._taking_down.outcome((uid, "take down"), lambda: self._take_down(uid))
        except NotYet as error:
            message = "volumes are still being unmounted: their CSI drivers have not answered yet"
            raise Unfinished(message, error.seconds) from None

    async def close(self) -> None:
        """Ends all work; what it leaves half done is on record."""
        for task in self._mounting:
            task.cancel()
        with contextlib.suppress(NotYet):
            await self._setting_up.cancel()
        with contextlib.suppress(NotYet):
            await self._taking_down.cancel()

    async def _take_down(self, uid: str) -> None:
        self._tokens.release(uid)
        for target in [path for path in self._waits_for if uid in path.parts]:
            del self._waits_for[target]
        for record in await asyncio.to_thread(self._layout.published, uid):
            await self._unpublish(uid, record)
        await asyncio.to_thread(self._layout.forget_pod, uid)
        self._unused()

    async def _unpublish(self, uid: str, record: Record) -> None:
        target = self._layout.target(uid, record)
        async with self._turn(record):
            request = wire.NodeUnpublishVolumeRequest(volume_id=record.handle, target_path=str(target))
            try:
                driver = await self._registry.get(record.driver)
                await driver.call("NodeUnpublishVolume", request, wire.NodeUnpublishVolumeResponse)
            except VolumeError as error:
                raise OSError(f"volume {record.name} cannot be unmounted: {error}") from None
            self._published.pop(target, None)
            await asyncio.to_thread(forget, target, self._layout.target_data(uid, record))

    async def unstage_unused(self, record: Record) -> None:
        """Has a staged volume unmounted that no pod of this node has any more. Raises VolumeError, OSError."""
        key = ("", f"unstage {self._layout.staging(record)}")
        try:
            # An outcome may be of a moment when a pod still had it, and did nothing: only what is there now counts.
            while await asyncio.to_thread(self._unused_now, record):
                await self._taking_down.outcome(key, lambda: self._unstage(record))
        except NotYet as error:
            raise Unfinished(f"driver {record.driver} has not answered NodeUnstageVolume yet", error.seconds) from None

    def _unused_now(self, record: Record) -> bool:
        return self._layout.staged_data(record).exists() and not self._layout.users(record)

    async def _unstage(self, record: Record) -> None:
        staging = self._layout.staging(record)
        async with self._turn(record):
            if await asyncio.to_thread(self._layout.users, record):
                return
            driver = await self._registry.get(record.driver)
            request = wire.NodeUnstageVolumeRequest(volume_id=record.handle, staging_target_path=str(staging))
            await driver.call("NodeUnstageVolume", request, wire.NodeUnstageVolumeResponse)
            self._staged.discard(staging)
            await asyncio.to_thread(forget, staging, self._layout.staged_data(record))

    def _turn(self, record: Record) -> asyncio.Lock:
        """One call at a time for a volume, as the specification wants it."""
        key = (record.driver, record.handle)
        lock = self._turns.get(key)
        if lock is None:
            lock = self._turns[key] = asyncio.Lock()
        return lock


def _forget_unmounted(mounted: Path, data: Path) -> None:
    if not is_mount_point(mounted):
        forget(mounted, data)
