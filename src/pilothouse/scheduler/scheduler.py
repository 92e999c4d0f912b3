"""The scheduler at work: informers keep the snapshot, the queue says whose turn it is, a decision is bound.

Decisions are made one after another and never wait; bindings run side by side, so that the store can commit many at
once. A pod counts on its node from the decision on.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Coroutine

from pilothouse.client.client import Client
from pilothouse.client.events import EventRecorder
from pilothouse.client.shared import SharedInformers
from pilothouse.kinds.core.namespace import Namespace
from pilothouse.kinds.core.node import Node
from pilothouse.kinds.core.persistent_volume import PersistentVolume
from pilothouse.kinds.core.persistent_volume_claim import PersistentVolumeClaim
from pilothouse.kinds.core.pod import Pod
from pilothouse.kinds.policy.pod_disruption_budget import PodDisruptionBudget
from pilothouse.kinds.storage.csi_driver import CSIDriver
from pilothouse.kinds.storage.csi_node import CSINode
from pilothouse.kinds.storage.csi_storage_capacity import CSIStorageCapacity
from pilothouse.kinds.storage.storage_class import StorageClass
from pilothouse.kinds.view import Object
from pilothouse.machinery.errors import ApiError, Conflict, NotFound
from pilothouse.machinery.quantity import InvalidQuantity
from pilothouse.reconcile.volumes import SELECTED_NODE, is_bound
from pilothouse.scheduler.bind import bind, evict, nominate, report, select_node
from pilothouse.scheduler.decide import Placement, Unschedulable, schedule
from pilothouse.scheduler.pod_info import PodInfo
from pilothouse.scheduler.preempt import Preemption
from pilothouse.scheduler.profile import SCHEDULERS
from pilothouse.scheduler.queue import Change, SchedulingQueue
from pilothouse.scheduler.snapshot import Snapshot, Storage

NAME = "default-scheduler"
WRITES = 64
"""Decisions being written at once: the store commits them together, and the event loop still comes round to others."""
TURN_SECONDS = 0.005
"""How long decisions are made before everything else in the process has its turn."""
_VOLUME_SECONDS = 600.0
"""How long a placed pod waits for its claims to be bound before it is decided anew (upstream's bind timeout)."""
_GATED = "Scheduling is blocked due to non-empty scheduling gates"
log = logging.getLogger(__name__)


async def run_scheduler(client: Client, *, informers: SharedInformers, name: str = NAME, seed: int = 0) -> None:
    """Schedules the pods whose `schedulerName` is one of SCHEDULERS until cancelled; `name` is its own, in events.

    Whoever owns `informers` runs them.
    """
    events = EventRecorder(client, name)
    scheduler = Scheduler(client, informers, events, name, seed)
    await informers.synced(Node, Pod, Namespace, PersistentVolume, PersistentVolumeClaim, StorageClass)
    await informers.synced(CSINode, CSIDriver, CSIStorageCapacity)
    await informers.synced(PodDisruptionBudget)
    scheduler.subscribe()
    async with asyncio.TaskGroup() as group:
        group.create_task(events.run())
        await scheduler.run()


class Scheduler:
    def __init__(
        self, client: Client, informers: SharedInformers, events: EventRecorder, name: str = NAME, seed: int = 0
    ) -> None:
        self._client = client
        self._events = events
        self._name = name
        self._seed = seed
        self._nodes = informers.of(Node)
        self._pods = informers.of(Pod)
        self._namespaces = informers.of(Namespace)
        self._claims = informers.of(PersistentVolumeClaim)
        self._volumes = informers.of(PersistentVolume)
        self._classes = informers.of(StorageClass)
        self._csi_nodes = informers.of(CSINode)
        self._csi_drivers = informers.of(CSIDriver)
        self._csi_capacities = informers.of(CSIStorageCapacity)
        self._budgets = informers.of(PodDisruptionBudget)
        self._queue = SchedulingQueue(time.monotonic)
        self._wake = asyncio.Event()
        self._storage_waiters: set[asyncio.Event] = set()
        self._storage_stale = True
        self._writes = asyncio.Semaphore(WRITES)
        self.snapshot = Snapshot()

    def subscribe(self) -> None:
        # Nodes and placed pods first, so that the first decision sees them all.
        self._namespaces.subscribe(self._namespace_changed)
        self._nodes.subscribe(self._node_changed)
        self._pods.subscribe(self._pod_changed)
        self._claims.subscribe(self._storage_changed)
        self._volumes.subscribe(self._storage_changed)
        self._classes.subscribe(self._storage_changed)
        self._csi_nodes.subscribe(self._storage_changed)
        self._csi_drivers.subscribe(self._storage_changed)
        self._csi_capacities.subscribe(self._storage_changed)
        self._budgets.subscribe(self._budget_changed)

    def _happened(self, change: Change) -> None:
        self._queue.happened(change)
        self._wake.set()

    def _namespace_changed(self, key: str, old: Namespace | None, new: Namespace | None) -> None:
        if old is None or new is None or old.metadata.labels != new.metadata.labels:
            self.snapshot.put_namespace(key, new.metadata.labels if new is not None else None)

    def _node_changed(self, key: str, old: Node | None, new: Node | None) -> None:
        if new is None:
            self.snapshot.remove_node(key)
            return
        try:
            self.snapshot.put_node(new)
        except InvalidQuantity as error:
            log.error("node %s is left out: %s", key, error)
            self.snapshot.remove_node(key)
            return
        if old is None:
            self._happened(Change.NODE_ADDED)
        elif _matters(old) != _matters(new):
            self._happened(Change.NODE_CHANGED)

    def _storage_changed(self, key: str, old: Object | None, new: Object | None) -> None:
        self._storage_stale = True
        self._happened(Change.STORAGE)
        for waiter in self._storage_waiters:
            waiter.set()

    def _budget_changed(self, key: str, old: PodDisruptionBudget | None, new: PodDisruptionBudget | None) -> None:
        self.snapshot.budgets = tuple(self._budgets)

    def _pod_changed(self, key: str, old: Pod | None, new: Pod | None) -> None:
        if new is None or new.status.phase in ("Succeeded", "Failed"):
            self._queue.remove(key)
            self.snapshot.withdraw(key)
            if self.snapshot.node_of(key) is not None:
                self.snapshot.remove_pod(key)
                self._happened(Change.POD_GONE)
            return
        if new.spec.node_name:
            self._queue.remove(key)
            if self.snapshot.is_assumed(key):
                if not self.snapshot.confirm(new):
                    self.snapshot.put_pod(PodInfo.of(new), new.spec.node_name)
                self._happened(Change.POD_PLACED)
            elif self.snapshot.node_of(key) is None or old is None or _asks(old) != _asks(new):
                self.snapshot.put_pod(PodInfo.of(new), new.spec.node_name)
                self._happened(Change.POD_PLACED)
            return
        self._unplaced_pod_changed(key, old, new)

    def _unplaced_pod_changed(self, key: str, old: Pod | None, new: Pod) -> None:
        if new.spec.scheduler_name not in SCHEDULERS:
            return
        if new.metadata.deletion_timestamp is not None:
            self._queue.remove(key)
            return
        if old is not None and old.metadata.uid != new.metadata.uid:
            self._queue.remove(key)
            self.snapshot.forget(key)
            old = None
        # Its own status written by this scheduler is no reason to try it again.
        if old is None or _asks(old) != _asks(new):
            self._queue.add(key, new.spec.priority or 0)
            self._wake.set()

    async def run(self) -> None:
        """Takes pods from the queue and places them, until cancelled."""
        async with asyncio.TaskGroup() as group:
            turn = time.monotonic()
            while True:
                # A long queue must not starve the rest of the process, nor the rest the queue: decisions for a while,
                # then everything else once. What was decided is written meanwhile.
                if time.monotonic() - turn > TURN_SECONDS:
                    await asyncio.sleep(0)
                    turn = time.monotonic()
                key = self._queue.pop()
                if key is None:
                    await self._rest()
                    turn = time.monotonic()
                    continue
                pod = self._pods.get(key)
                if pod is None or pod.spec.node_name or self.snapshot.is_assumed(key):
                    continue
                try:
                    outcome = self._outcome(pod)
                except Exception:
                    self._went_wrong(pod)
                else:
                    group.create_task(self._carry_out(pod, outcome))

    async def _carry_out(self, pod: Pod, outcome: Coroutine[None, None, None]) -> None:
        try:
            await outcome
        except Exception:
            self._went_wrong(pod)

    def _went_wrong(self, pod: Pod) -> None:
        """Nothing unforeseen about one pod may end the scheduler; the pod is tried again later."""
        log.exception("pod %s could not be scheduled", pod.key)
        self._take_back(pod.key)
        self._queue.failed(pod.key)
        self._wake.set()

    async def _rest(self) -> None:
        """Sleeps until something happened or a back-off ends."""
        self._wake.clear()
        due = self._queue.next_due()
        if due is None:
            await self._wake.wait()
            return
        try:
            async with asyncio.timeout(max(0.0, due - time.monotonic())):
                await self._wake.wait()
        except TimeoutError:
            return

    def _outcome(self, pod: Pod) -> Coroutine[None, None, None]:
        """Decides about the pod, here and now; what is returned writes the decision down."""
        if pod.spec.scheduling_gates:
            # Taking a gate away changes the pod, which puts it back into the queue.
            self._queue.remove(pod.key)
            return self._report(pod, "SchedulingGated", _GATED, event=False)
        try:
            info = PodInfo.of(pod)
        except ValueError as error:
            self._queue.remove(pod.key)
            return self._report(pod, "Unschedulable", f"the pod's spec cannot be read: {error}")
        decision = schedule(info, self._fresh_snapshot(), seed=self._seed)
        if isinstance(decision, Unschedulable):
            self._queue.park(pod.key, decision.filters)
            if decision.preemption is not None:
                self.snapshot.nominate(info, decision.preemption.node)
                return self._preempt(pod, decision.message, decision.preemption)
            return self._report(pod, "Unschedulable", decision.message)
        self.snapshot.assume(info, decision.node)
        return self._bind(pod, decision)

    def _fresh_snapshot(self) -> Snapshot:
        if self._storage_stale:
            self.snapshot.storage = Storage(
                {claim.key: claim for claim in self._claims},
                {volume.key: volume for volume in self._volumes},
                {storage_class.key: storage_class for storage_class in self._classes},
                {csi_node.name: csi_node for csi_node in self._csi_nodes},
                {driver.name: driver for driver in self._csi_drivers},
                list(self._csi_capacities),
            )
            self._storage_stale = False
        return self.snapshot

    async def _report(self, pod: Pod, reason: str, message: str, *, event: bool = True) -> None:
        if event:
            self._events.event(pod, "Warning", "FailedScheduling", message)
        try:
            async with self._writes:
                await report(self._client, pod, reason, message)
        except (ApiError, OSError) as error:
            log.warning("the status of pod %s could not be written: %s", pod.key, error)

    async def _preempt(self, pod: Pod, message: str, preemption: Preemption) -> None:
        """Sends the victims away; their going wakes the pod up."""
        await self._report(pod, "Unschedulable", message)
        try:
            async with self._writes:
                await nominate(self._client, pod, preemption.node)
                for victim in preemption.victims:
                    text = f"Preempted by pod {pod.metadata.uid} on node {preemption.node}"
                    self._events.event(victim.pod, "Normal", "Preempted", text)
                    await evict(self._client, victim, self._name)
        except (ApiError, OSError) as error:
            log.warning("no room could be made for pod %s: %s", pod.key, error)
            self.snapshot.withdraw(pod.key)

    async def _bind(self, pod: Pod, placement: Placement) -> None:
        key = pod.key
        try:
            if placement.claims:
                await select_node(self._client, self._claims, placement.claims, placement.node)
                await self._claims_bound(placement.claims)
            async with self._writes:
                await bind(self._client, pod, placement.node)
        except NotFound:
            self._queue.remove(key)
            self._take_back(key)
        except (ApiError, OSError, TimeoutError) as error:
            # A Conflict may mean that it is bound already: then the informer brings the truth before the next try.
            level = logging.DEBUG if isinstance(error, Conflict) else logging.WARNING
            log.log(level, "pod %s could not be bound to %s: %s", key, placement.node, error or type(error).__name__)
            self._take_back(key)
            self._queue.failed(key)
            self._wake.set()
        else:
            self._events.event(pod, "Normal", "Scheduled", f"Successfully assigned {key} to {placement.node}")

    def _take_back(self, key: str) -> None:
        self.snapshot.forget(key)
        self._happened(Change.POD_GONE)

    async def _claims_bound(self, keys: tuple[str, ...]) -> None:
        """Waits until the volume controller has bound the claims. Raises TimeoutError, or `Conflict` if it refuses."""
        changed = asyncio.Event()
        self._storage_waiters.add(changed)
        try:
            async with asyncio.timeout(_VOLUME_SECONDS):
                chosen = False
                while True:
                    changed.clear()
                    claims = [self._claims.get(key) for key in keys]
                    if all(claim is not None and is_bound(claim) for claim in claims):
                        return
                    selected = all(c is not None and SELECTED_NODE in c.metadata.annotations for c in claims)
                    if chosen and not selected and not any(c is not None and is_bound(c) for c in claims):
                        raise Conflict("the volume controller asked for another node")
                    chosen = chosen or selected
                    await changed.wait()
        finally:
            self._storage_waiters.discard(changed)


def _matters(node: Node) -> tuple[object, ...]:
    """What of a node can make room for a pod."""
    return node.spec, node.metadata.labels, node.metadata.annotations, node.status.allocatable


def _asks(pod: Pod) -> tuple[object, ...]:
    """What of a pod a decision looks at: one that is being deleted takes room, and no place among its like."""
    return pod.spec, pod.metadata.labels, pod.metadata.deletion_timestamp is None
