"""Graceful shutdown of the machine: pods are ended in order before the machine takes what they run on.

Ordinary pods first, then critical ones, as upstream's node shutdown manager does. They end as Failed, so that their
controllers make others elsewhere; without a grace configured nothing is done, and what ran starts again after the boot.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Iterable
from dataclasses import dataclass

from pilothouse.node.context import Context
from pilothouse.node.ending import end_pod
from pilothouse.node.eviction.rank import SYSTEM_CRITICAL
from pilothouse.node.state import PodState, Refusal

log = logging.getLogger(__name__)

REASON, MESSAGE = "Terminated", "Pod was terminated in response to imminent node shutdown."
REJECTED = Refusal("NodeShutdown", "Pod was rejected as the node is shutting down.")
_LOOK = 0.05


@dataclass(frozen=True, slots=True)
class Turn:
    """Pods that are ended together, and the seconds they have."""

    uids: tuple[str, ...]
    grace: float


def turns(pods: Iterable[PodState], grace: float, critical: float) -> list[Turn]:
    """`critical` of the whole `grace` is kept for critical pods. Pure."""
    ordinary: list[str] = []
    vital: list[str] = []
    for state in pods:
        if state.pod is None or state.refusal is not None or state.torn_down:
            continue
        (vital if (state.pod.spec.priority or 0) >= SYSTEM_CRITICAL else ordinary).append(state.uid)
    critical = min(critical, grace)
    found = [Turn(tuple(ordinary), grace - critical), Turn(tuple(vital), critical)]
    return [turn for turn in found if turn.uids]


async def end_all(context: Context) -> None:
    """Ends every pod within the configured grace; returns when they have ended or the grace is over."""
    settings = context.config.settings
    context.shutting_down.set()
    for turn in turns(context.pods, settings.shutdown_grace_period, settings.shutdown_grace_period_critical_pods):
        log.info("the machine shuts down: %d pods have %.0f s to end", len(turn.uids), turn.grace)
        states = [state for uid in turn.uids if (state := context.pods.by_uid(uid)) is not None]
        for state in states:
            await end_pod(context, state, Refusal(REASON, MESSAGE, grace=turn.grace, disrupted=True))
        deadline = time.monotonic() + turn.grace
        for state in states:
            await _ended(state, deadline)


async def _ended(state: PodState, deadline: float) -> None:
    """Returns when the pod has given back what it held, or its time is over."""
    while not (state.torn_down or state.cleaned):
        if time.monotonic() > deadline:
            log.warning("pod %s has not ended in time", state.key)
            return
        await asyncio.sleep(_LOOK)
