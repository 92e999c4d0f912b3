"""Keeps this node's pods as they should be: a queue by pod, each pass a plan and its actions until none is left."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import AsyncIterator

from pilothouse.kinds.core.pod import Pod
from pilothouse.kinds.core.static_pod import MIRROR
from pilothouse.machinery.objects import parse_timestamp
from pilothouse.node import adopt, ending, exits, pulling, resizing, sandbox, shutdown, starting, stopping
from pilothouse.node.context import Context
from pilothouse.node.cri import RuntimeAway, RuntimeFailure
from pilothouse.node.eviction import admit
from pilothouse.node.plan import (
    Action,
    Clean,
    DropSandbox,
    EnsureImage,
    Fail,
    Prepare,
    Resize,
    Start,
    Stop,
    TearDown,
    all_containers,
    holds_resources,
    make_plan,
    unresized,
    waiting_for,
)
from pilothouse.node.refuse import refusal, without_effect
from pilothouse.node.reporting import Reporter
from pilothouse.node.resources import class_and_cpu
from pilothouse.node.runtime_events import Exited, ImageChanged, OutOfMemory, RuntimeEvent
from pilothouse.node.state import PodState, Refusal
from pilothouse.reconcile.queue import Backoff, KeyedQueue, work

log = logging.getLogger(__name__)

_NOBODY = Pod()
_STEPS = 200
"""Plans in one pass; more means that an action does not change what it was planned for."""
_RESUBSCRIBE = 0.2
_LIST_LAG = 0.5
_API_PATIENCE = 3.0


class Pods:
    """The node's desired pods and what is done for them."""

    def __init__(self, context: Context, reporter: Reporter) -> None:
        self._context = context
        self._reporter = reporter
        self.queue = KeyedQueue()
        self.synced = asyncio.Event()
        """Set once the API server has said which pods there are: only then may others be removed."""
        self.runtime_ready = asyncio.Event()
        """The runtime's containers have been listed: only now may pods be started."""

    async def run(self) -> None:
        """Works until cancelled."""
        async with asyncio.TaskGroup() as group:
            group.create_task(self._follow_runtime())
            group.create_task(self._work())
            group.create_task(self._reporter.run())

    async def _work(self) -> None:
        await self.runtime_ready.wait()
        await work(
            "pods",
            self.queue,
            self.reconcile,
            workers=self._context.config.workers,
            backoff=Backoff(first=0.2, most=10.0),
        )

    def seen(self, _key: str, old: Pod | None, new: Pod | None) -> None:
        """The informer's subscriber: what the API server says of a pod of this node. Mirrors are nothing to run."""
        if MIRROR in (new or old or _NOBODY).metadata.annotations:
            return
        if old is not None and (new is None or old.metadata.uid != new.metadata.uid):
            gone = self._context.pods.by_uid(old.metadata.uid)
            if gone is not None:
                gone.deleted = True
                self.queue.add(gone.uid)
        if new is not None:
            self.desire(new, old)

    def desire(self, pod: Pod, old: Pod | None = None, *, static: bool = False) -> None:
        """Takes a pod as it should be; only what concerns the node has it looked at."""
        pods = self._context.pods
        state = pods.by_uid(pod.metadata.uid)
        if state is None:
            state = PodState(pod.metadata.uid, pod.namespace, pod.name, static=static)
            pods.add(state)
        pods.claim_name(state)
        before, state.pod, state.deleted = state.pod, pod, False
        if before is None or _matters(before, pod):
            state.admitted = state.admitted and before is not None and before.spec == pod.spec
            state.resize_retry_at = 0.0
            self.queue.add(state.uid)
        elif old is not None and _conditions(old) != _conditions(pod):
            self._reporter.report(state.uid)
        if before is not None and state.volumes_ready and not state.torn_down and _tells_otherwise(before, pod):
            sandbox.refresh_now(self._context, state)

    def show_as(self, state: PodState, mirror_uid: str) -> None:
        """The object that shows a static pod is another one now, to which its whole status is new."""
        state.mirror_uid = mirror_uid
        self._reporter.forget(state.uid)
        self._reporter.report(state.uid)

    def reference_changed(self, uid: str) -> None:
        """A ConfigMap or Secret the pod names changed."""
        state = self._context.pods.by_uid(uid)
        if state is None:
            return
        state.volumes_retry_at = 0.0
        for name, held in list(state.waiting.items()):
            if held.reason == "CreateContainerConfigError":
                del state.waiting[name]
        if state.volumes_ready and not state.torn_down:
            sandbox.refresh_now(self._context, state)
        self.queue.add(uid)

    async def reconcile(self, uid: str) -> float | None:
        """One pass for a pod; the seconds after which time alone asks for another."""
        state = self._context.pods.by_uid(uid)
        if state is None:
            return None
        if state.pod is None and not self.synced.is_set():
            return 1.0
        if not state.admitted and state.pod is not None:
            await self._admit(state, state.pod)
        again: float | None = None
        for _ in range(_STEPS):
            now = time.time()
            plan = make_plan(state, now)
            again = plan.again_at
            if not plan.actions:
                break
            for action in plan.actions:
                await self._act(state, action)
                if isinstance(action, Start):
                    break
        else:
            log.error("pod %s: no end of actions, the last plan was %s", state.key, plan.actions)
            return 10.0
        return self._finish(state, again, now)

    def _finish(self, state: PodState, again: float | None, now: float) -> float | None:
        """`now` is the plan's: what ended a moment later would neither be waited for nor acted upon."""
        if state.cleaned and (state.deleted or state.pod is None):
            self._reporter.forget(state.uid)
            self._context.pods.remove(state.uid)
            return None
        if state.resize is not None and not unresized(state):
            state.resize = None
        waiting, changes = waiting_for(state, now)
        for name, held in waiting.items():
            if held.reason == "CrashLoopBackOff" and state.announced.get(name) != held.until:
                state.announced[name] = held.until
                message = (
                    f"Back-off restarting failed container {name} in pod {state.name}_{state.namespace}({state.uid})"
                )
                self._context.tell(state, "Warning", "BackOff", message, name)
        self._reporter.report(state.uid)
        moments = [moment for moment in (again, changes) if moment is not None]
        return max(0.01, min(moments) - time.time()) if moments else None

    async def _admit(self, state: PodState, pod: Pod) -> None:
        if pod.status.phase in ("Succeeded", "Failed") and not state.started_at:
            state.ended = True
        if not state.started_at:
            shown = pod.status.start_time
            state.started_at = parse_timestamp(shown).timestamp() if shown else time.time()
        kept = await asyncio.to_thread(ending.kept_end, self._context, state.uid)
        if state.refusal is None:
            # Asked after the wait: the pod may have been evicted meanwhile.
            state.refusal = kept
        if state.refusal is None:
            state.refusal = refusal(pod, self._context.config.abilities) or self._no_place(state, pod)
            if state.refusal is not None:
                self._context.tell(state, "Warning", state.refusal.reason, state.refusal.message)
            elif state.sandbox is None:
                for text in without_effect(pod, self._context.config.abilities):
                    self._context.tell(state, "Warning", "NoEffect", text)
        state.asks = class_and_cpu(pod)
        await asyncio.to_thread(adopt.keep, self._context, pod, state.started_at)
        state.admitted = True

    def _no_place(self, state: PodState, pod: Pod) -> Refusal | None:
        """Whether the node has no room for a pod that is new to it; what runs already goes on."""
        if state.ended or state.sandbox is not None or state.containers or pod.metadata.deletion_timestamp is not None:
            return None
        if self._context.shutting_down.is_set():
            return shutdown.REJECTED
        others = [
            other.pod
            for other in self._context.pods
            if other is not state and other.pod is not None and holds_resources(other)
        ]
        return admit.under_pressure(pod, self._context.pressure) or admit.without_room(
            pod, others, self._context.allocatable
        )

    async def _act(self, state: PodState, action: Action) -> None:
        context = self._context
        match action:
            case Prepare():
                await sandbox.prepare(context, state, sandbox=action.sandbox, volumes=action.volumes)
            case EnsureImage():
                await pulling.ensure_image(context, state, action.container)
            case Start():
                await starting.start_container(context, state, action.container, action.attempt)
            case Resize():
                await resizing.resize(context, state, action.container)
            case Stop():
                stopping.stop_container(context, state, action.container, action.grace, action.why)
            case DropSandbox():
                await sandbox.drop_sandbox(context, state, action.id)
            case TearDown():
                await ending.tear_down(context, state)
            case Clean():
                await ending.clean(context, state)
            case Fail():
                await ending.end_pod(context, state, Refusal(action.reason, action.message))

    async def _follow_runtime(self) -> None:
        """Subscribes, then lists: between the two nothing is missed, and after a broken stream both happen again."""
        failed = False
        while True:
            try:
                follow = asyncio.create_task(self._follow(self._context.runtime.events()))
                try:
                    await self._context.runtime.version()
                    if not self.runtime_ready.is_set():
                        await self._wait_for_api()
                        await adopt.adopt(self._context, api_known=self.synced.is_set())
                        self._adopted()
                    await adopt.refresh(self._context)
                    failed = False
                    # An end told just before the subscription shows in lists only tens of milliseconds later.
                    await asyncio.wait({follow}, timeout=_LIST_LAG)
                    await adopt.refresh(self._context)
                    await follow
                finally:
                    follow.cancel()
            except RuntimeFailure as error:
                level = logging.DEBUG if failed or isinstance(error, RuntimeAway) else logging.WARNING
                log.log(level, "following containerd: %s", error)
                failed = True
            await asyncio.sleep(_RESUBSCRIBE)

    async def _wait_for_api(self) -> None:
        """The API server knows which containers were ready; without it they are looked after all the same."""
        try:
            async with asyncio.timeout(_API_PATIENCE):
                await self.synced.wait()
        except TimeoutError:
            log.info("the API server does not answer: pods are run as last known")

    def _adopted(self) -> None:
        self._context.images.forget()
        self.runtime_ready.set()
        for state in self._context.pods:
            if state.pod is not None and not state.volumes_ready and state.sandbox is not None:
                state.volumes_ready = self._context.volumes.intact(state.pod)
                if state.volumes_ready:
                    sandbox.refresh_now(self._context, state)
            self.queue.add(state.uid)

    async def _follow(self, events: AsyncIterator[RuntimeEvent]) -> None:
        async for event in events:
            self._happened(event)

    def _happened(self, event: RuntimeEvent) -> None:
        if isinstance(event, ImageChanged):
            self._context.images.forget(event.name)
            return
        state = self._context.pods.owner(event.container_id)
        if state is None:
            return
        if isinstance(event, OutOfMemory):
            exits.out_of_memory(state, event.container_id)
        elif isinstance(event, Exited):
            exits.exited(self._context, state, event.container_id, event.exit_code, event.at)

    def forsake_unknown(self, known: set[str]) -> None:
        """The API server's first list is in: pods it does not name are taken apart."""
        self.synced.set()
        for state in self._context.pods:
            if state.uid not in known and not state.static:
                state.deleted = True
                self.queue.add(state.uid)


def _tells_otherwise(before: Pod, pod: Pod) -> bool:
    """Whether what a downwardAPI volume may tell has changed, in a pod that has one."""
    if _told(before) == _told(pod):
        return False
    projected = [source for volume in pod.spec.volumes if volume.projected for source in volume.projected.sources]
    whole = any(volume.downward_api is not None for volume in pod.spec.volumes)
    return whole or any(source.downward_api is not None for source in projected)


def _told(pod: Pod) -> object:
    return pod.metadata.labels, pod.metadata.annotations, [c.resources for c in all_containers(pod)]


def _matters(before: Pod, after: Pod) -> bool:
    a, b = before.metadata, after.metadata
    return (
        a.deletion_timestamp != b.deletion_timestamp
        or a.deletion_grace_period_seconds != b.deletion_grace_period_seconds
        or a.generation != b.generation
        or before.spec != after.spec
    )


def _conditions(pod: Pod) -> list[tuple[str, str]]:
    """The conditions that readiness gates ask for."""
    gates = {gate.condition_type for gate in pod.spec.readiness_gates}
    return [(c.type, c.status) for c in pod.status.conditions if c.type in gates]
