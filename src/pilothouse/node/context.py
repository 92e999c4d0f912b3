"""What every action of the node has at hand, and the tasks it leaves running in the background."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from typing import Any, Literal, Protocol

from pilothouse.client.client import Client
from pilothouse.client.events import EventRecorder
from pilothouse.client.informer import Informer
from pilothouse.kinds.core.pod import Pod
from pilothouse.kinds.core.service import Service
from pilothouse.linux.cgroups import Cgroups
from pilothouse.node.config import NodeConfig
from pilothouse.node.cri import Runtime
from pilothouse.node.csi.csi import Csi
from pilothouse.node.devices.plugins import Devices
from pilothouse.node.images.keyring import Keyring
from pilothouse.node.images.store import ImageStore
from pilothouse.node.names import Resolver
from pilothouse.node.probes.prober import Prober
from pilothouse.node.references import References
from pilothouse.node.resources import cgroup_parent
from pilothouse.node.runtime_config import Placement
from pilothouse.node.state import PodState, PodTable
from pilothouse.node.swap import HostSwap
from pilothouse.node.volumes.mounter import Volumes

log = logging.getLogger(__name__)


class PodStarting(Protocol):
    """Given a pod and its addresses; raises OSError when the pod must not start."""

    async def __call__(self, pod: Pod, *addresses: str) -> None: ...


class Tasks:
    """Background tasks, each belonging to a pod; what they raise is logged."""

    def __init__(self) -> None:
        self._tasks: dict[tuple[str, str], asyncio.Task[None]] = {}

    def start(self, uid: str, what: str, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        """Starts `work`; an earlier task of the same pod and purpose is cancelled."""
        key = (uid, what)
        self.cancel(uid, what)
        task = self._tasks[key] = asyncio.create_task(work, name=f"{what} of pod {uid}")
        task.add_done_callback(lambda done: self._finished(key, done))
        return task

    def _finished(self, key: tuple[str, str], task: asyncio.Task[None]) -> None:
        if self._tasks.get(key) is task:
            del self._tasks[key]
        if not task.cancelled() and task.exception() is not None:
            log.error("%s of pod %s failed", key[1], key[0], exc_info=task.exception())

    def cancel(self, uid: str, what: str) -> None:
        task = self._tasks.pop((uid, what), None)
        if task is not None:
            task.cancel()

    def cancel_all(self, uid: str | None = None) -> None:
        """Cancels a pod's tasks, or everybody's."""
        for key in [key for key in self._tasks if uid is None or key[0] == uid]:
            self.cancel(*key)


def _list_of(pod: Pod, container: str) -> str:
    if any(c.name == container for c in pod.spec.init_containers):
        return "initContainers"
    return "ephemeralContainers" if any(c.name == container for c in pod.spec.ephemeral_containers) else "containers"


@dataclass(slots=True, kw_only=True)
class Context:
    """The node's parts, as actions use them."""

    config: NodeConfig
    client: Client
    runtime: Runtime
    images: ImageStore
    keyring: Keyring
    volumes: Volumes
    references: References
    cgroups: Cgroups
    recorder: EventRecorder
    pods: PodTable
    devices: Devices | None
    """The device plugins, where the node is configured to take any."""
    csi: Csi | None
    """CSI drivers, where the node is configured to take any."""
    services: Informer[Service]
    pod_starting: PodStarting | None
    """Called when a sandbox has its address, before containers start in it: the network's rules for the pod."""
    tasks: Tasks
    probes: Prober
    wake: Callable[[str], None]
    """Has the pod of that UID looked at again soon."""
    memory_capacity: int
    swap: HostSwap
    host_resolver: Resolver
    allocatable: dict[str, str]
    shutting_down: asyncio.Event
    """Set once the machine goes down: no pod is taken any more."""
    class_shares: dict[str, int]
    """CPU shares that the group of each service class was given last."""
    pressure: set[str]
    """The conditions of pressure that hold: MemoryPressure, DiskPressure, PIDPressure."""

    def placement(self, pod: Pod) -> Placement:
        return Placement(
            domain=self.config.domain,
            log_root=str(self.config.layout.logs),
            cgroup_parent=cgroup_parent(self.config.cgroup_root, pod),
            memory_capacity=self.memory_capacity,
            seccomp_dir=str(self.config.seccomp_dir),
            huge_pages=self.config.abilities.huge_pages,
            swap=self.swap,
        )

    def tell(
        self, state: PodState, type: Literal["Normal", "Warning"], reason: str, message: str, container: str = ""
    ) -> None:
        """Records an event about the pod, or about one of its containers."""
        pod = state.pod
        if pod is None:
            return
        path = f"spec.{_list_of(pod, container)}{{{container}}}" if container else ""
        self.recorder.event(pod, type, reason, message, field_path=path)
