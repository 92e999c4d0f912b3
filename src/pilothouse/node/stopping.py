"""Stopping a container: preStop hook, stop signal, and the kill when its grace is over.

A signal of the pod's own choice is sent past CRI, whose way of naming one few runtimes know (KEP-4960); the one of the
image is the runtime's to send.
"""

from __future__ import annotations

import asyncio
import logging
import time

from pilothouse.kinds.core.stop_signals import STOP_SIGNALS
from pilothouse.node.context import Context
from pilothouse.node.cri import RuntimeAway, RuntimeFailure, RuntimeMissing
from pilothouse.node.hooks import HookFailed, run_hook
from pilothouse.node.plan import find_container
from pilothouse.node.state import ContainerState, Phase, PodState
from pilothouse.node.streams.tasks import Tasks
from pilothouse.node.wire import cri_pb2 as cri

log = logging.getLogger(__name__)

KILLED = 137
"""The exit code of a process ended by SIGKILL."""
_RETRY = 2.0
_LEAST_GRACE = 2.0
"""Seconds a container has after its hook, even when the hook took all its grace (upstream's figure)."""


def stop_container(context: Context, state: PodState, name: str, grace: float, why: str) -> None:
    """Begins to stop a container, or stops it sooner when a shorter grace is asked for."""
    run = state.containers[name]
    first = not run.stopping_since
    now = time.time()
    run.stopping_since, run.kill_at = run.stopping_since or now, now + grace
    context.probes.end(run)
    context.tasks.cancel(state.uid, f"postStart hook of {name}")
    if first:
        context.tell(state, "Normal", "Killing", why, name)
    context.tasks.start(state.uid, f"stop of {run.id}", _stop(context, state, run, grace, hook=first))


async def _stop(context: Context, state: PodState, run: ContainerState, grace: float, *, hook: bool) -> None:
    if hook:
        await _pre_stop(context, state, run, grace)
        grace = max(_LEAST_GRACE if grace else 0.0, run.kill_at - time.time())
    try:
        if await _signalled(context, state, run, grace):
            grace = 0.0
        await context.runtime.stop_container(run.id, grace)
    except RuntimeMissing:
        if run.running:
            settle(run, KILLED, time.time())
    except RuntimeAway:
        run.stopping_since = 0.0  # planned again
        await asyncio.sleep(_RETRY)
    except RuntimeFailure as error:
        run.stopping_since = 0.0
        context.tell(
            state, "Warning", "FailedKillPod", f"error killing container {run.name}: {error.message}", run.name
        )
        await asyncio.sleep(_RETRY)
    else:
        if run.running:
            # The exit's event may be on its way or lost with a broken stream: ask.
            await ask(context, run)
    context.wake(state.uid)


async def _pre_stop(context: Context, state: PodState, run: ContainerState, grace: float) -> None:
    container = find_container(state.pod, run.name) if state.pod is not None else None
    lifecycle = container.lifecycle if container is not None else None
    if container is None or lifecycle is None or lifecycle.pre_stop is None or grace <= 0:
        return
    try:
        await run_hook(context, state, container, run, lifecycle.pre_stop, grace)
    except HookFailed as error:
        context.tell(state, "Warning", "FailedPreStopHook", f"PreStopHook failed: {error}", run.name)


async def _signalled(context: Context, state: PodState, run: ContainerState, grace: float) -> bool:
    """Sends the signal that the pod names and waits for the end, for as long as there is grace.

    False if it names none, or if the runtime cannot send it: then the usual way is left.
    """
    container = find_container(state.pod, run.name) if state.pod is not None else None
    lifecycle = container.lifecycle if container is not None else None
    if lifecycle is None or not lifecycle.stop_signal or grace <= 0:
        return False
    tasks = Tasks(context.runtime.channel)
    try:
        await tasks.kill(run.id, "", STOP_SIGNALS[lifecycle.stop_signal])
        await asyncio.wait_for(tasks.wait(run.id), grace)
    except TimeoutError:
        return True
    except (RuntimeAway, RuntimeMissing):
        raise
    except RuntimeFailure as error:
        log.warning("%s was not sent to container %s: %s", lifecycle.stop_signal, run.id, error.message)
        return False
    return True


async def ask(context: Context, run: ContainerState) -> None:
    """Takes over what the runtime says of a container that may have ended. Raises RuntimeFailure other than missing."""
    try:
        status = await context.runtime.container_status(run.id)
    except RuntimeMissing:
        settle(run, KILLED, time.time())
        return
    if status.state == cri.CONTAINER_EXITED and not run.exited:
        settle(run, status.exit_code, status.finished_at / 1e9 or time.time())


def settle(run: ContainerState, exit_code: int, at: float) -> None:
    """Notes that the container ended."""
    run.phase, run.exit_code, run.finished_at = Phase.EXITED, exit_code, at
    run.reason = "Completed" if exit_code == 0 else "Error"
    run.ready = run.started = False
