"""The Node object: registered at start, its status kept true, and the lease that says the node lives."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Collection
from dataclasses import dataclass

from pilothouse.client.client import Client
from pilothouse.client.informer import Informer
from pilothouse.kinds.coordination.lease import Lease
from pilothouse.kinds.core.node import Node as NodeObject
from pilothouse.machinery.errors import AlreadyExists, ApiError, NotFound
from pilothouse.machinery.objects import Obj, micro_timestamp, timestamp
from pilothouse.node import capacity
from pilothouse.node.config import NodeConfig
from pilothouse.node.cri import Runtime, RuntimeFailure
from pilothouse.node.devices.plugins import Devices

log = logging.getLogger(__name__)

LEASE_NAMESPACE = "kube-node-lease"
LEASE_SECONDS = 40
HEARTBEAT = 10.0
"""Seconds between renewals of the lease, and between looks at the runtime."""
STATUS_PERIOD = 300.0
_NOT_READY_PERIOD = 0.1
_NOT_READY_PATIENCE = 50
"""Looks at short intervals before a runtime that is not ready is looked at with every heartbeat only."""
_IMAGES_SHOWN = 50
_PRESSURES = {
    "MemoryPressure": (
        ("KubeletHasSufficientMemory", "kubelet has sufficient memory available"),
        ("KubeletHasInsufficientMemory", "kubelet has insufficient memory available"),
    ),
    "DiskPressure": (
        ("KubeletHasNoDiskPressure", "kubelet has no disk pressure"),
        ("KubeletHasDiskPressure", "kubelet has disk pressure"),
    ),
    "PIDPressure": (
        ("KubeletHasSufficientPID", "kubelet has sufficient PID available"),
        ("KubeletHasInsufficientPID", "kubelet has insufficient PID available"),
    ),
}
"""Reason and message of each condition when all is well, and when it is not; upstream's words."""
NOT_READY = "node is shutting down"
VOLUMES_DIR = "pilothouse.io/volumes-dir"
VOLUMES_CAPACITY = "pilothouse.io/volumes-capacity"


@dataclass(frozen=True, slots=True)
class Readiness:
    ready: bool
    reason: str
    message: str


def pause(looks: int, failures: int) -> float:
    """Seconds until the next look at the runtime, after so many looks in vain and so many statuses not delivered.

    Short at first, since a runtime or server that was just started answers soon; then no more often than the lease.
    """
    hasty = 0 < looks < _NOT_READY_PATIENCE or 0 < failures < _NOT_READY_PATIENCE
    return _NOT_READY_PERIOD if hasty else HEARTBEAT


class Registration:
    """Keeps the Node object and its lease."""

    def __init__(
        self,
        config: NodeConfig,
        client: Client,
        runtime: Runtime,
        pressure: Collection[str] = (),
        shutting_down: asyncio.Event | None = None,
        devices: Devices | None = None,
    ) -> None:
        """`pressure` holds, at any time, the conditions of pressure that are true."""
        self._devices = devices
        self._shutting_down = shutting_down
        self._config = config
        self._client = client
        self._runtime = runtime
        self._pressure = pressure
        self._on_pod_cidr: list[Callable[[str], None]] = []
        self.on_registered: list[Callable[[], None]] = []
        """Called when the Node was made or found."""
        self._pod_cidr = ""
        self._conditions: dict[str, Obj] = {}
        self._sent_at = 0.0
        self._tell_again = False
        self._version = ""
        self._uid = ""
        self._look_again = asyncio.Event()
        self.ready = asyncio.Event()
        """Set while the node is Ready, as far as this process knows."""

    def on_pod_cidr(self, hook: Callable[[str], None]) -> None:
        """Calls `hook` with the node's pod range as soon as it is known, and when it changes."""
        self._on_pod_cidr.append(hook)
        if self._pod_cidr:
            hook(self._pod_cidr)

    def look_again(self) -> None:
        """The runtime came or went, or its network was configured: looks at once."""
        self._look_again.set()

    def tell_again(self) -> None:
        """What the node has to give changed: its status is sent at once."""
        self._tell_again = True
        self._look_again.set()

    async def run(self) -> None:
        """Registers, then keeps status and lease until cancelled."""
        own: Informer[NodeObject] = Informer(
            self._client, NodeObject, field_selector=f"metadata.name={self._config.name}"
        )
        own.subscribe(self._seen)
        await self._register()
        async with asyncio.TaskGroup() as group:
            group.create_task(own.run())
            group.create_task(self._keep_status())
            group.create_task(self._keep_lease())

    def _seen(self, _key: str, _old: NodeObject | None, node: NodeObject | None) -> None:
        if node is None:
            self._sent_at = 0.0
            self._look_again.set()
            return
        if node.spec.pod_cidr and node.spec.pod_cidr != self._pod_cidr:
            self._pod_cidr = node.spec.pod_cidr
            for hook in self._on_pod_cidr:
                hook(self._pod_cidr)
            self._look_again.set()

    async def _register(self) -> None:
        """Creates the Node, or brings its labels and annotations up to date; tries until the server answers."""
        failures = 0
        while True:
            try:
                await self._create_or_update()
                for hook in self.on_registered:
                    hook()
                return
            except (ApiError, OSError) as error:
                failures += 1
                if failures in (1, 10):
                    log.warning("registering node %s: %s", self._config.name, error)
            await asyncio.sleep(min(5.0, 0.1 * 2 ** min(failures, 6)))

    async def _create_or_update(self) -> None:
        config = self._config
        metadata: Obj = {
            "labels": {
                "kubernetes.io/hostname": config.name,
                "kubernetes.io/os": "linux",
                "kubernetes.io/arch": capacity.architecture(),
                **config.labels,
            },
            "annotations": {
                VOLUMES_DIR: str(config.volumes_dir),
                VOLUMES_CAPACITY: str(capacity.disk_size(config.data_dir)),
            },
        }
        try:
            node = await self._client.patch(NodeObject, config.name, None, {"metadata": metadata})
            self._uid = node.metadata.uid
            self._take_conditions(node)
        except NotFound:
            tree: Obj = {"metadata": {"name": config.name, **metadata}, "spec": {}}
            made = await self._client.create_tree(NodeObject.resource, tree)
            self._uid = str(made["metadata"].get("uid", ""))

    def _take_conditions(self, node: NodeObject) -> None:
        """Keeps the times of conditions that an earlier process of this node reported and that still hold."""
        for condition in node.status.conditions:
            shown = {
                "status": condition.status,
                "reason": condition.reason,
                "message": condition.message,
                "lastTransitionTime": condition.last_transition_time,
            }
            self._conditions.setdefault(condition.type, shown)

    async def _keep_status(self) -> None:
        looks = failures = 0
        while True:
            self._look_again.clear()  # first: what changes during the look is looked at again
            readiness = await self._readiness()
            looks = 0 if readiness.ready else looks + 1
            try:
                await self._send_status(readiness)
                failures = 0
            except (ApiError, OSError, RuntimeFailure) as error:
                if isinstance(error, NotFound):
                    await self._register()
                log.debug("node status: %s", error)
                self._sent_at = 0.0
                failures += 1
            try:
                async with asyncio.timeout(pause(looks, failures)):
                    await self._look_again.wait()
            except TimeoutError:
                continue

    async def _readiness(self) -> Readiness:
        try:
            if not self._version:
                version = await self._runtime.version()
                self._version = f"{version.runtime_name}://{version.runtime_version.removeprefix('v')}"
            status = await self._runtime.status()
        except RuntimeFailure as error:
            return Readiness(
                False,
                "KubeletNotReady",
                f"the container runtime at {self._runtime.socket} does not answer: {error.message}",
            )
        if self._shutting_down is not None and self._shutting_down.is_set():
            return Readiness(False, "KubeletNotReady", NOT_READY)
        bad = [f"{c.type}: {c.message or c.reason}" for c in status.status.conditions if not c.status]
        if bad:
            return Readiness(False, "KubeletNotReady", f"container runtime is not ready: {'; '.join(bad)}")
        return Readiness(True, "KubeletReady", "the node is ready to run pods")

    async def _send_status(self, readiness: Readiness) -> None:
        conditions = self._new_conditions(readiness)
        changed = any(
            (c["status"], c["reason"], c["message"])
            != tuple(self._conditions.get(c["type"], {}).get(key) for key in ("status", "reason", "message"))
            for c in conditions
        )
        again, self._tell_again = self._tell_again, False
        if not changed and not again and time.monotonic() - self._sent_at < STATUS_PERIOD and self._sent_at:
            return
        full = not self._sent_at or not changed or again
        status: Obj = {"conditions": conditions}
        if full or readiness.ready:
            status |= await self._facts(readiness.ready)
        await self._client.patch(
            NodeObject, self._config.name, None, {"status": status}, type="strategic", subresource="status"
        )
        self._conditions = {c["type"]: c for c in conditions}
        self._sent_at = time.monotonic()
        if readiness.ready:
            self.ready.set()
        else:
            self.ready.clear()

    async def _facts(self, runtime_answers: bool) -> Obj:
        config, pages = self._config, self._config.abilities.huge_pages
        devices = self._devices.amounts() if self._devices is not None else ({}, {})
        facts: Obj = {
            "addresses": [
                # The list's merge key is `type`: two of one type can only be sent as a whole.
                *([{"$patch": "replace"}] if config.more_addresses else ()),
                *({"type": "InternalIP", "address": address} for address in config.addresses),
                {"type": "Hostname", "address": config.name},
            ],
            "capacity": {**capacity.capacity(config.data_dir, config.settings, pages), **devices[0]},
            "allocatable": {**capacity.allocatable(config.data_dir, config.settings, pages), **devices[1]},
            "daemonEndpoints": {"kubeletEndpoint": {"Port": config.port}},
            "nodeInfo": capacity.system_info(self._version, config.version),
        }
        if runtime_answers:
            images = sorted(await self._runtime.list_images(), key=lambda image: -image.size)[:_IMAGES_SHOWN]
            facts["images"] = [
                {"names": [*image.repo_digests, *image.repo_tags], "sizeBytes": image.size} for image in images
            ]
        return facts

    def _new_conditions(self, readiness: Readiness) -> list[Obj]:
        now = timestamp()
        conditions: list[Obj] = []
        for kind, texts in _PRESSURES.items():
            bad = kind in self._pressure
            reason, message = texts[bad]
            conditions.append(
                {"type": kind, "status": "True" if bad else "False", "reason": reason, "message": message}
            )
        conditions.append(
            {
                "type": "Ready",
                "status": "True" if readiness.ready else "False",
                "reason": readiness.reason,
                "message": readiness.message,
            }
        )
        for condition in conditions:
            before = self._conditions.get(condition["type"])
            same = before is not None and before["status"] == condition["status"]
            condition["lastHeartbeatTime"] = now
            condition["lastTransitionTime"] = before["lastTransitionTime"] if same and before is not None else now
        return conditions

    async def _keep_lease(self) -> None:
        renewed = time.time()
        while True:
            try:
                await self._renew()
            except (ApiError, OSError) as error:
                log.debug("lease of node %s: %s", self._config.name, error)
                await asyncio.sleep(1.0)
                continue
            if time.time() - renewed > LEASE_SECONDS:
                # After so long a silence the node counts as unknown: it has to say again how it is.
                self._sent_at = 0.0
                self._look_again.set()
            renewed = time.time()
            await asyncio.sleep(HEARTBEAT)

    async def _renew(self) -> None:
        name = self._config.name
        spec: Obj = {"holderIdentity": name, "leaseDurationSeconds": LEASE_SECONDS, "renewTime": micro_timestamp()}
        try:
            await self._client.patch(Lease, name, LEASE_NAMESPACE, {"spec": spec})
        except NotFound:
            owner = {"apiVersion": "v1", "kind": "Node", "name": name, "uid": self._uid}
            tree: Obj = {"metadata": {"name": name, "ownerReferences": [owner]}, "spec": spec}
            try:
                await self._client.create_tree(Lease.resource, tree, LEASE_NAMESPACE)
            except AlreadyExists:
                return
