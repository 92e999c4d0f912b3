"""A pod's volumes: set up together, kept fresh while it runs, taken down at its end."""

from __future__ import annotations

import asyncio
import shutil
import time
from dataclasses import dataclass, field
from pathlib import Path

from pilothouse.client.client import Client
from pilothouse.kinds.core.pod import Container, Pod, Volume, VolumeProjection
from pilothouse.linux.mounts import is_mount, mount_tmpfs, unmount_below
from pilothouse.node.csi.plan import Wanted, of_inline, of_persistent
from pilothouse.node.csi.volumes import CsiVolumes
from pilothouse.node.devices.given import DeviceNode
from pilothouse.node.environment import Sources, expand
from pilothouse.node.plan import all_containers
from pilothouse.node.references import References
from pilothouse.node.runtime_config import BindMount
from pilothouse.node.volumes import atomic, claim, empty_dir, host_path, ownership
from pilothouse.node.volumes.image import ImageVolumes
from pilothouse.node.volumes.layout import Layout
from pilothouse.node.volumes.payload import (
    DEFAULT_MODE,
    File,
    Payload,
    VolumeError,
    config_map_files,
    downward_files,
    secret_files,
)
from pilothouse.node.volumes.subpath import bind_subpath
from pilothouse.node.volumes.tokens import Tokens

REPUBLISH_SECONDS = 60.0
"""Between calls to a driver that wants to be asked again and again (its CSIDriver's requiresRepublish), and between
looks at whether a volume has grown."""


@dataclass(slots=True)
class Mounted:
    """Where each volume of a pod is, which of them may only be read, and when to look at them again."""

    paths: dict[str, Path] = field(default_factory=dict)
    read_only: set[str] = field(default_factory=set)
    sealed: set[str] = field(default_factory=set)
    """Mounts that are read-only themselves, with more flags than the runtime's mounting them read-only would leave."""
    devices: dict[str, Path] = field(default_factory=dict)
    """Where the block device of each volume that is one is."""
    grouped: set[str] = field(default_factory=set)
    """Volumes whose files are given to the pod's group."""
    refresh_at: float = 0.0
    """When a token in them is to be renewed, or a driver wants to be asked again; 0 for never."""

    def look_again(self, moment: float) -> None:
        """Has the volumes looked at by then."""
        self.refresh_at = min(self.refresh_at or moment, moment)


class Volumes:
    """Sets volumes up and takes them down. Everything may be called again: what is already done is left alone."""

    def __init__(
        self,
        client: Client,
        references: References,
        layout: Layout,
        images: ImageVolumes,
        csi: CsiVolumes | None = None,
    ) -> None:
        self._client = client
        self._references = references
        self._layout = layout
        self._images = images
        self._csi = csi
        self._tokens = Tokens(client)
        self._mounted: dict[str, Mounted] = {}

    async def set_up(self, pod: Pod, sources: Sources) -> Mounted:
        """Sets up what the pod's containers mount. Raises VolumeError, ApiError, OSError."""
        needed = {mount.name for c in all_containers(pod) for mount in c.volume_mounts}
        needed |= {device.name for c in all_containers(pod) for device in c.volume_devices}
        volumes = [volume for volume in pod.spec.volumes if volume.name in needed]
        mounted = Mounted()
        payloads: dict[str, tuple[Payload, bool]] = {}
        for volume in volumes:
            await self._gather(pod, volume, sources, payloads, mounted)
        await asyncio.to_thread(self._write, pod, volumes, payloads, mounted)
        self._mounted[pod.metadata.uid] = mounted
        return mounted

    async def refresh(self, pod: Pod, sources: Sources) -> float:
        """Brings changed ConfigMaps, Secrets and tokens into the volumes; the moment to look again, 0 for none."""
        return (await self.set_up(pod, sources)).refresh_at

    async def _gather(
        self, pod: Pod, volume: Volume, sources: Sources, payloads: dict[str, tuple[Payload, bool]], mounted: Mounted
    ) -> None:
        """Fetches what the volume is made of; only then is the disk touched."""
        uid, namespace = pod.metadata.uid, pod.namespace
        if volume.config_map is not None:
            cm = volume.config_map
            found = await self._references.config_map(uid, namespace, cm.name)
            files = config_map_files(cm.name, found, cm.items, cm.default_mode, bool(cm.optional))
            payloads[volume.name] = files, False
        elif volume.secret is not None:
            s = volume.secret
            secret = await self._references.secret(uid, namespace, s.secret_name)
            payloads[volume.name] = secret_files(s.secret_name, secret, s.items, s.default_mode, bool(s.optional)), True
        elif volume.downward_api is not None:
            d = volume.downward_api
            payloads[volume.name] = downward_files(pod, d.items, d.default_mode, sources), False
        elif volume.projected is not None:
            p = volume.projected
            files = {}
            for source in p.sources:
                files |= await self._project(pod, source, p.default_mode, sources, mounted)
            payloads[volume.name] = files, True
        elif volume.persistent_volume_claim is not None:
            pvc = volume.persistent_volume_claim
            if pvc.read_only:
                mounted.read_only.add(volume.name)
            await self._take(pod, pvc.claim_name, volume.name, mounted, owned=False)
        elif volume.ephemeral is not None:
            await self._take(pod, f"{pod.name}-{volume.name}", volume.name, mounted, owned=True)
        elif volume.csi is not None:
            if volume.csi.read_only:
                mounted.read_only.add(volume.name)
            await self._publish(pod, of_inline(pod, volume, self._drivers().node_name), volume.name, mounted)
        elif volume.image is not None:
            mounted.paths[volume.name] = await self._images.set_up(pod, volume.name, volume.image)
            mounted.sealed.add(volume.name)

    async def _take(self, pod: Pod, claim_name: str, name: str, mounted: Mounted, *, owned: bool) -> None:
        found, bound = await claim.find(self._client, pod, claim_name, owned=owned)
        if bound.spec.csi is not None:
            read_only = name in mounted.read_only
            wanted = of_persistent(bound, self._drivers().node_name, read_only=read_only)
            await self._publish(pod, wanted, name, mounted)
            if await self._drivers().expansion.catch_up(pod, found, bound, wanted, ownership.group_of(pod)):
                mounted.look_again(time.time() + REPUBLISH_SECONDS)
            return
        path = await asyncio.to_thread(claim.set_up, bound)
        (mounted.devices if claim.is_block(bound) else mounted.paths)[name] = path
        mounted.grouped.add(name)

    def _drivers(self) -> CsiVolumes:
        if self._csi is None:
            raise VolumeError(
                "this node takes no CSI drivers: set csi_root_dir in its settings (most expect /var/lib/kubelet)"
            )
        return self._csi

    async def _publish(self, pod: Pod, wanted: Wanted, name: str, mounted: Mounted) -> None:
        published = await self._drivers().set_up(pod, wanted, ownership.group_of(pod))
        (mounted.devices if wanted.record.block else mounted.paths)[name] = published.path
        if published.gives_group:
            mounted.grouped.add(name)
        if published.again:
            mounted.look_again(time.time() + REPUBLISH_SECONDS)

    async def _project(
        self, pod: Pod, source: VolumeProjection, mode: int | None, sources: Sources, mounted: Mounted
    ) -> Payload:
        uid, namespace = pod.metadata.uid, pod.namespace
        if source.config_map is not None:
            cm = source.config_map
            found = await self._references.config_map(uid, namespace, cm.name)
            return config_map_files(cm.name, found, cm.items, mode, bool(cm.optional))
        if source.secret is not None:
            s = source.secret
            secret = await self._references.secret(uid, namespace, s.name)
            return secret_files(s.name, secret, s.items, mode, bool(s.optional))
        if source.downward_api is not None:
            return downward_files(pod, source.downward_api.items, mode, sources)
        if source.service_account_token is not None:
            token = await self._tokens.get(pod, source.service_account_token)
            mounted.look_again(token.renew_at)
            content = File(token.text.encode(), DEFAULT_MODE if mode is None else mode)
            return {source.service_account_token.path: content}
        raise VolumeError(
            "a projected source is of a kind this node does not know (clusterTrustBundle, podCertificate)"
        )

    def _write(
        self, pod: Pod, volumes: list[Volume], payloads: dict[str, tuple[Payload, bool]], mounted: Mounted
    ) -> None:
        context, group = pod.spec.security_context, ownership.group_of(pod)
        on_mismatch = context is not None and context.fs_group_change_policy == "OnRootMismatch"
        marker = self._layout.volumes_ready(pod.metadata.uid)
        first_time = not marker.exists()
        for volume in volumes:
            target = self._layout.volume(pod.metadata.uid, volume.name)
            if volume.name in payloads:
                files, in_memory = payloads[volume.name]
                target.mkdir(parents=True, exist_ok=True)
                if in_memory and not is_mount(target):
                    mount_tmpfs(target, mode=0o755)
                if group is not None:
                    ownership.give_to_group(target, group, only_if_root_differs=True)
                atomic.write(target, files, group)
                mounted.read_only.add(volume.name)
                mounted.paths[volume.name] = target
            elif volume.empty_dir is not None:
                empty_dir.set_up(volume.empty_dir, target, pod)
                mounted.paths[volume.name] = target
            elif volume.host_path is not None:
                mounted.paths[volume.name] = host_path.set_up(volume.host_path)
            grouped = volume.empty_dir or volume.name in mounted.grouped
            given = volume.name in mounted.paths and volume.name not in mounted.read_only
            if group is not None and grouped and first_time and given:
                ownership.give_to_group(mounted.paths[volume.name], group, only_if_root_differs=on_mismatch)
        if first_time:
            marker.parent.mkdir(parents=True, exist_ok=True)
            marker.touch()

    def knows(self, uid: str, container: Container) -> bool:
        """Whether `set_up` succeeded in this process for what the container mounts."""
        mounted = self._mounted.get(uid)
        return (
            mounted is not None
            and all(mount.name in mounted.paths for mount in container.volume_mounts)
            and all(device.name in mounted.devices for device in container.volume_devices)
        )

    def intact(self, pod: Pod) -> bool:
        """Whether the volumes of a pod found running are still set up (no reboot took the memory file systems)."""
        uid = pod.metadata.uid
        for volume in pod.spec.volumes:
            target = self._layout.volume(uid, volume.name)
            if volume.image is not None and not is_mount(target):
                return False
            in_memory = volume.secret or volume.projected or (volume.empty_dir and volume.empty_dir.in_memory)
            made_here = in_memory or volume.empty_dir or volume.config_map or volume.downward_api
            if made_here and not (is_mount(target) if in_memory else target.is_dir()):
                return False
        if self._csi is not None and not self._csi.intact(uid):
            return False
        return self._layout.pod(uid).is_dir()

    async def binds(self, pod: Pod, container: Container, environment: dict[str, str]) -> list[BindMount]:
        """The container's mounts of volumes, subPaths resolved. Raises VolumeError, OSError."""
        mounted = self._mounted[pod.metadata.uid]
        binds: list[BindMount] = []
        for index, mount in enumerate(container.volume_mounts):
            path = mounted.paths.get(mount.name)
            if path is None and mount.name in mounted.devices:
                raise VolumeError(f"volumeMount {mount.mount_path}: volume {mount.name!r} is a block device")
            if path is None:
                raise VolumeError(f"volumeMount {mount.mount_path}: the pod has no volume {mount.name!r}")
            below = expand(mount.sub_path_expr, environment) if mount.sub_path_expr else mount.sub_path
            if below:
                target = self._layout.subpath(pod.metadata.uid, container.name, index)
                await asyncio.to_thread(bind_subpath, path, below, target)
                path = target
            container_path = mount.mount_path if mount.mount_path.startswith("/") else "/" + mount.mount_path
            # Upstream lets containers write volumes made of API objects only on the host's side: they are read-only.
            read_only = (mount.read_only or mount.name in mounted.read_only) and mount.name not in mounted.sealed
            binds.append(BindMount(str(path), container_path, read_only, mount.mount_propagation))
        return binds

    def devices(self, pod: Pod, container: Container) -> list[DeviceNode]:
        """The block devices that the container sees. Raises VolumeError."""
        mounted = self._mounted[pod.metadata.uid]
        found = []
        for device in container.volume_devices:
            path = mounted.devices.get(device.name)
            if path is None:
                raise VolumeError(f"volumeDevice {device.device_path}: volume {device.name!r} is no block device")
            permissions = "r" if device.name in mounted.read_only else "rwm"
            found.append(DeviceNode(str(path), device.device_path, permissions))
        return found

    async def take_down(self, uid: str) -> None:
        """Unmounts everything of the pod. Raises OSError."""
        if self._csi is not None:
            # What containers were shown of a driver's volume is ours; the mount itself is the driver's to undo.
            await asyncio.to_thread(unmount_below, self._layout.subpaths(uid))
            await self._csi.take_down(uid)
        await asyncio.to_thread(unmount_below, self._layout.pod(uid))
        await self._images.remove(uid)
        self._mounted.pop(uid, None)
        self._tokens.release(uid)
        self._references.release(uid)

    async def remove(self, uid: str) -> None:
        """Unmounts everything and removes the pod's directory. Raises OSError."""
        await self.take_down(uid)
        directory = self._layout.pod(uid)
        if directory.is_dir():
            await asyncio.to_thread(shutil.rmtree, directory)

    def due(self, uid: str) -> bool:
        """Whether a token in the pod's volumes is to be renewed now."""
        mounted = self._mounted.get(uid)
        return mounted is not None and 0 < mounted.refresh_at <= time.time()
