"""A node: runs the pods that are bound to it, and keeps its Node object true."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Callable
from pathlib import Path

from pilothouse.client.client import Client
from pilothouse.client.events import EventRecorder
from pilothouse.client.informer import Informer
from pilothouse.kinds.core.pod import Pod
from pilothouse.kinds.core.service import Service
from pilothouse.linux.cgroups import Cgroups
from pilothouse.node import adopt, capacity, shutdown
from pilothouse.node.config import NodeConfig
from pilothouse.node.context import Context, PodStarting, Tasks
from pilothouse.node.cri import Runtime
from pilothouse.node.csi.csi import Csi
from pilothouse.node.devices.ledger import Ledger
from pilothouse.node.devices.plugins import Devices
from pilothouse.node.eviction.evictor import Evictor
from pilothouse.node.eviction.observe import Observer
from pilothouse.node.images.keyring import Keyring
from pilothouse.node.images.store import ImageStore
from pilothouse.node.images.sweeper import Sweeper
from pilothouse.node.names import Resolver, parse_resolv_conf
from pilothouse.node.orphans import remove_orphans
from pilothouse.node.pods import Pods
from pilothouse.node.probes.prober import Prober
from pilothouse.node.references import References
from pilothouse.node.registration import Registration
from pilothouse.node.reporting import Reporter
from pilothouse.node.state import PodTable
from pilothouse.node.static.mirrors import is_static
from pilothouse.node.static.static_pods import StaticPods
from pilothouse.node.swap import LIMITED_SWAP, NOTHING_SHARED, HostSwap
from pilothouse.node.volumes.fill import Filler
from pilothouse.node.volumes.image import ImageVolumes
from pilothouse.node.volumes.mounter import Volumes
from pilothouse.node.volumes.reclaim import Reclaimer

log = logging.getLogger(__name__)

__all__ = ["Node", "NodeConfig"]


class Node:
    """The node's parts put together. `run` works until cancelled and leaves containers running when it ends.

    `services` is the informer of Services of a process that has one anyway; without it the node runs its own.
    `pod_starting` puts the network's rules for a pod in force before its containers start (None: there are none).
    `runtime` stands in for containerd in tests.
    """

    def __init__(
        self,
        config: NodeConfig,
        client: Client,
        recorder: EventRecorder,
        *,
        services: Informer[Service] | None = None,
        pod_starting: PodStarting | None = None,
        runtime: Runtime | None = None,
    ) -> None:
        self.config = config
        self.runtime = runtime or Runtime(str(config.containerd_socket))
        self.pods = PodTable()
        """The pods of this node, for streams and statistics to read."""
        self._client = client
        self._own_services = services is None
        self._services = services if services is not None else Informer(client, Service)
        self._informer: Informer[Pod] = Informer(client, Pod, field_selector=f"spec.nodeName={config.name}")
        references = References(client, self._reference_changed)
        tasks = Tasks()
        images = ImageStore(
            self.runtime, str(config.certs_dir), self.runtime.downloads, config.settings.max_parallel_image_pulls
        )
        keyring = Keyring(references, config.settings.providers())
        memory = capacity.memory_bytes()
        directory = config.settings.device_plugins_dir
        self._devices = (
            Devices(Path(directory), Ledger(config.data_dir / "node" / "devices.json"), self._devices_changed)
            if directory
            else None
        )
        takes_drivers = bool(config.settings.csi_root_dir)
        self._csi = Csi(config, client, references, self._driver_came, self._volumes_done) if takes_drivers else None
        self._reporter = Reporter(client, self.pods, config.addresses)
        self._context = Context(
            config=config,
            client=client,
            runtime=self.runtime,
            images=images,
            keyring=keyring,
            volumes=Volumes(
                client,
                references,
                config.layout,
                ImageVolumes(self.runtime, images, keyring, config.layout),
                self._csi.volumes if self._csi is not None else None,
            ),
            references=references,
            cgroups=Cgroups(config.cgroup_filesystem),
            recorder=recorder,
            pods=self.pods,
            devices=self._devices,
            csi=self._csi,
            services=self._services,
            pod_starting=pod_starting,
            probes=Prober(
                self.runtime, config.address, self._wake, lambda *what: self._context.tell(*what), self.pods.counts
            ),
            tasks=tasks,
            wake=self._wake,
            memory_capacity=memory,
            swap=NOTHING_SHARED,
            host_resolver=config.host_resolver or _host_resolver(),
            allocatable={},
            shutting_down=asyncio.Event(),
            class_shares={},
            pressure=set(),
        )
        self._pods = Pods(self._context, self._reporter)
        self._static = StaticPods(client, self._pods, self.pods, self._informer, config.static_pods_dir, config.name)
        self._sweeper = Sweeper(self._context)
        self._reclaimer = Reclaimer(client, config.volumes_dir, config.name)
        self._filler = Filler(client, self._reclaimer, recorder, config.volumes_dir, config.name)
        self.registration = Registration(
            config, client, self.runtime, self._context.pressure, self._context.shutting_down, self._devices
        )
        if self._csi is not None:
            self.registration.on_registered.append(self._csi.node_made)
        pods_limits = capacity.pods_limits(config.settings)
        observer = Observer(config.layout, config.cgroup_root, config.images_dir, pods_limits.memory_bytes)
        self._evictor = Evictor(self._context, observer, self._sweeper.win_back, self.registration.look_again)

    async def shut_down(self) -> None:
        """The machine goes down: ends all pods within the configured grace, and says so."""
        self._context.shutting_down.set()
        self.registration.look_again()
        await shutdown.end_all(self._context)
        await self._reporter.told()

    @property
    def informer(self) -> Informer[Pod]:
        """The pods bound to this node, as the API server has them."""
        return self._informer

    def on_pod_cidr(self, hook: Callable[[str], None]) -> None:
        """Calls `hook` with the node's pod range as soon as it is known; the network is then looked at again."""
        self.registration.on_pod_cidr(hook)

    def _shared_swap(self) -> HostSwap:
        if self.config.settings.swap_behavior != LIMITED_SWAP:
            return NOTHING_SHARED
        if not self._context.cgroups.unified:
            log.warning("swap_behavior LimitedSwap: control groups of version 1 cannot bound it, so no pod may swap")
            return NOTHING_SHARED
        return HostSwap(capacity.swap_total(), capacity.memory_bytes())

    async def run(self) -> None:
        """Runs the node until cancelled."""
        config = self.config
        for directory in (config.layout.pods, config.layout.logs, config.volumes_dir):
            directory.mkdir(parents=True, exist_ok=True)
        # Secrets and logs are below: containers reach them by mounts, other users of the host not at all.
        for directory in (config.layout.pods, config.layout.logs):
            directory.chmod(0o750)
        pages = config.abilities.huge_pages
        self._context.allocatable.update(capacity.allocatable(config.data_dir, config.settings, pages))
        self._context.cgroups.create(config.cgroup_root, capacity.pods_limits(config.settings))
        self._context.swap = self._shared_swap()
        self._context.cgroups.allow_swap(config.cgroup_root, bool(self._context.swap.swap))
        kept = await adopt.kept_pods(self._context)
        for pod in kept:
            if not is_static(pod):
                self._pods.desire(pod)
        await self._static.load(pod for pod in kept if is_static(pod))
        try:
            async with asyncio.TaskGroup() as group:
                group.create_task(self.registration.run())
                group.create_task(self._pods.run())
                group.create_task(self._follow_api())
                group.create_task(self._informer.run())
                group.create_task(self._sweeper.run())
                group.create_task(self._evict())
                group.create_task(self._reclaimer.run())
                group.create_task(self._filler.run())
                group.create_task(self._static.run())
                if self._devices is not None:
                    group.create_task(self._devices.run())
                if self._csi is not None:
                    group.create_task(self._csi.run())
                if self._own_services:
                    group.create_task(self._services.run())
        finally:
            await self._close()

    async def _follow_api(self) -> None:
        self._informer.subscribe(self._pods.seen)
        await self._informer.synced()
        self._pods.forsake_unknown({pod.metadata.uid for pod in self._informer})
        await self._pods.runtime_ready.wait()
        await remove_orphans(self._context)

    async def _evict(self) -> None:
        await self._pods.runtime_ready.wait()
        await self._evictor.run()

    async def _close(self) -> None:
        self._context.tasks.cancel_all()
        self._context.probes.close()
        with contextlib.suppress(asyncio.CancelledError):
            await self._context.references.close()
        await self.runtime.close()

    def _wake(self, uid: str) -> None:
        self._pods.queue.add(uid)

    def _devices_changed(self) -> None:
        """Amounts of devices are the node's to give from now on, and told at once."""
        if self._devices is not None:
            self._context.allocatable.update(self._devices.amounts()[1])
            self.registration.tell_again()

    def _driver_came(self) -> None:
        """Pods that wait for a volume are tried at once."""
        for state in self.pods:
            if state.volumes_failures:
                state.volumes_retry_at = 0.0
                self._wake(state.uid)

    def _volumes_done(self, uid: str) -> None:
        """What was still being mounted or unmounted for a pod is done, or has failed."""
        state = self.pods.by_uid(uid)
        if state is not None:
            state.volumes_retry_at = state.cleanup_retry_at = 0.0
            self._wake(uid)

    def _reference_changed(self, uid: str) -> None:
        self._pods.reference_changed(uid)


def _host_resolver() -> Resolver:
    try:
        return parse_resolv_conf(Path("/etc/resolv.conf").read_text(errors="replace"))
    except OSError:
        return Resolver()
