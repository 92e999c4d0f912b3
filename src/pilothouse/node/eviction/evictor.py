"""Watches what the node has left; wins it back from images and dead containers first, then ends one pod at a time."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections.abc import Awaitable, Callable, Mapping

from pilothouse.node.context import Context
from pilothouse.node.cri import RuntimeFailure, RuntimeMissing
from pilothouse.node.ending import end_pod
from pilothouse.node.eviction import limits, rank
from pilothouse.node.eviction.decide import History, judge, met_by
from pilothouse.node.eviction.observe import Observer, subject_of
from pilothouse.node.eviction.signals import (
    ALLOCATABLE_MEMORY,
    CONDITIONS,
    MEMORY,
    PIDS,
    Observation,
    Threshold,
)
from pilothouse.node.state import PodState, Refusal

log = logging.getLogger(__name__)

HASTY_PERIOD = 1.0
"""Seconds between looks while something is short, or nearly so."""
_NEAR = 2
"""A signal with less than this many times its threshold left is nearly short."""
_HARD_GRACE = 1.0
"""Seconds an evicted pod has when a hard threshold or its own limit is exceeded (upstream's figure)."""
_CLEAR_PATIENCE = 30.0
"""Seconds an evicted pod may take to go before the next is chosen all the same."""
_WALK_SHARE = 20
"""Measuring the disk takes at most this part of the time: after a walk of one second, nineteen without."""


class Evictor:
    """Tells the node's conditions in `context.pressure`; `changed` is called when they are others.

    `win_back` removes images that nobody uses.
    """

    def __init__(
        self,
        context: Context,
        observer: Observer,
        win_back: Callable[[], Awaitable[object]],
        changed: Callable[[], None],
    ) -> None:
        self._context = context
        self._observer = observer
        self._win_back = win_back
        self._changed = changed
        self._thresholds = context.config.settings.thresholds()
        self._history = History()
        self._walk_after = 0.0
        self._act_after = 0.0
        """What came to nothing is not tried again before."""
        self._going: PodState | None = None
        self._going_until = 0.0

    async def run(self) -> None:
        """Looks until cancelled; what fails is tried again at the next look."""
        while True:
            pause = self._context.config.eviction_period
            try:
                if await self.look():
                    pause = min(pause, HASTY_PERIOD)
            except (OSError, RuntimeFailure) as error:
                log.warning("looking for what runs short: %s", error)
            await asyncio.sleep(pause)

    async def look(self) -> bool:
        """One look, with what follows from it; True when another should follow soon. Raises OSError, RuntimeFailure."""
        observed = await asyncio.to_thread(self._observer.host)
        settings = self._context.config.settings
        judgement = judge(
            self._thresholds, observed, self._history, time.time(), settings.eviction_pressure_transition_period
        )
        self._history = judgement.history
        if judgement.conditions != self._context.pressure:
            self._context.pressure.clear()
            self._context.pressure.update(judgement.conditions)
            self._changed()
        if await self._over_their_limits():
            return True
        may_act = not self._one_is_going() and time.monotonic() >= self._act_after
        if judgement.due is not None and may_act and not await self._act(judgement.due, observed):
            self._act_after = time.monotonic() + self._context.config.eviction_period
        return judgement.due is not None or self._near(observed)

    def _near(self, observed: Mapping[str, Observation]) -> bool:
        return any(
            (found := observed.get(t.signal)) is not None and found.available < _NEAR * t.least.of(found.capacity)
            for t in self._thresholds
            if t.signal in (MEMORY, ALLOCATABLE_MEMORY, PIDS)
        )

    async def _over_their_limits(self) -> bool:
        """Evicts pods that exceed limits of their own on disk."""
        started = time.monotonic()
        if started < self._walk_after:
            return False
        subjects = [
            subject
            for state in self._context.pods
            if state.refusal is None and state.pod is not None and limits.has_limits(state.pod)
            if (subject := subject_of(state)) is not None
        ]
        evicted = False
        for subject in subjects:
            use = (await asyncio.to_thread(self._observer.use, [subject], disk=True))[0]
            volumes = await asyncio.to_thread(self._observer.volumes, subject)
            why = limits.exceeded(subject.pod, use, {name: space.bytes for name, space in volumes.items()})
            if why:
                evicted = await self._evict(subject.uid, why, _HARD_GRACE) or evicted
        now = time.monotonic()
        self._walk_after = now + (now - started) * (_WALK_SHARE - 1)
        return evicted

    async def _act(self, due: Threshold, observed: Mapping[str, Observation]) -> bool:
        """False when no pod was ended."""
        condition = CONDITIONS[due.signal]
        log.warning("attempting to reclaim what %s is short of", due.signal)
        if condition == "DiskPressure":
            await remove_dead_containers(self._context)
            await self._win_back()
            fresh = await asyncio.to_thread(self._observer.host)
            if not any(met_by((due,), fresh, reclaimed=True)):
                log.info("%s is resolved without ending a pod", due.signal)
                return False
        subjects = [
            subject
            for state in self._context.pods
            if state.refusal is None and (subject := subject_of(state)) is not None
        ]
        uses = await asyncio.to_thread(self._observer.use, subjects, disk=condition == "DiskPressure")
        ranked = rank.candidates(due.signal, uses, separate_images=self._observer.separate_images)
        if not ranked:
            log.error("%s is short and there is no pod that may be evicted", due.signal)
            return False
        victim = ranked[0]
        message = rank.message(due, victim, observed.get(due.signal))
        grace = _HARD_GRACE if due.hard else float(self._context.config.settings.eviction_max_pod_grace_period)
        return await self._evict(victim.uid, message, grace, due.signal)

    async def _evict(self, uid: str, message: str, grace: float, signal: str = "") -> bool:
        """Ends a pod."""
        state = self._context.pods.by_uid(uid)
        if state is None or state.pod is None or state.refusal is not None or state.deleted:
            return False
        if state.pod.metadata.deletion_timestamp is not None:
            return False
        log.warning("pod %s is evicted: %s", state.key, message)
        await end_pod(self._context, state, Refusal("Evicted", message, grace=grace, disrupted=True))
        self._context.pods.counts.evictions[signal] += 1
        self._going, self._going_until = state, time.monotonic() + _CLEAR_PATIENCE
        return True

    def _one_is_going(self) -> bool:
        """Whether the pod evicted last still holds what it is to give back: until then nobody else is chosen."""
        state = self._going
        if state is None or state.torn_down or state.cleaned or time.monotonic() > self._going_until:
            self._going = None
            return False
        return True


async def remove_dead_containers(context: Context) -> None:
    """Removes from the runtime what no one needs but to look at: earlier attempts, and containers of ended pods.

    What is known of them stays with the pods' states. Raises RuntimeFailure.
    """
    for state in context.pods:
        dead = [*state.previous.values(), *(state.containers.values() if state.torn_down else ())]
        for run in dead:
            if run.exited and not run.removed:
                with contextlib.suppress(RuntimeMissing):
                    await context.runtime.remove_container(run.id)
                run.removed = True
