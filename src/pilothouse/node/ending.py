"""Taking a pod apart: its sandbox, volumes and cgroup, and at last everything there is of it."""

from __future__ import annotations

import asyncio
import time

from pilothouse.node import labels
from pilothouse.node.context import Context
from pilothouse.node.cri import RuntimeFailure, RuntimeMissing
from pilothouse.node.resources import cgroup_parent
from pilothouse.node.state import PodState

_RETRY_FIRST, _RETRY_MOST = 1.0, 60.0
_QOS = ("guaranteed", "burstable", "besteffort")


async def tear_down(context: Context, state: PodState) -> None:
    """A pod that has ended gives its address, mounts and cgroup back; its containers' records and logs stay."""
    try:
        context.tasks.cancel(state.uid, "volume refresh")
        for sandbox_id in _sandboxes(state):
            await _stop(context, sandbox_id)
        await context.volumes.take_down(state.uid)
        await asyncio.to_thread(_remove_cgroup, context, state)
    except (RuntimeFailure, OSError) as error:
        _later(context, state, error)
        return
    if state.sandbox is not None:
        state.sandbox.ready = False
    state.torn_down = True


async def clean(context: Context, state: PodState) -> None:
    """Removes everything of the pod on this node but its logs."""
    context.tasks.cancel_all(state.uid)
    try:
        sandboxes = _sandboxes(state)
        if state.sandbox_failures:
            sandboxes |= await _stray(context, state)
        for sandbox_id in sandboxes:
            await _stop(context, sandbox_id)
            await _remove(context, sandbox_id)
        await context.volumes.remove(state.uid)
        await asyncio.to_thread(_remove_cgroup, context, state)
    except (RuntimeFailure, OSError) as error:
        _later(context, state, error)
        return
    state.sandbox, state.old_sandboxes = None, []
    state.cleaned = True


def _sandboxes(state: PodState) -> set[str]:
    return {*state.old_sandboxes, *([state.sandbox.id] if state.sandbox is not None else [])}


async def _stray(context: Context, state: PodState) -> set[str]:
    """Sandboxes that came to be although the call that made them failed."""
    return {s.id for s in await context.runtime.list_sandboxes() if s.labels.get(labels.POD_UID) == state.uid}


async def _stop(context: Context, sandbox_id: str) -> None:
    try:
        await context.runtime.stop_sandbox(sandbox_id)
    except RuntimeMissing:
        return


async def _remove(context: Context, sandbox_id: str) -> None:
    try:
        await context.runtime.remove_sandbox(sandbox_id)
    except RuntimeMissing:
        return


def _remove_cgroup(context: Context, state: PodState) -> None:
    """Raises OSError while processes are still in it."""
    root = context.config.cgroup_root
    paths = (
        [cgroup_parent(root, state.pod)] if state.pod is not None else [f"{root}/{qos}/pod{state.uid}" for qos in _QOS]
    )
    for path in paths:
        if not context.cgroups.remove(path):
            raise OSError(f"cgroup {path} still has processes in it")


def _later(context: Context, state: PodState, error: RuntimeFailure | OSError) -> None:
    state.cleanup_failures += 1
    delay = min(_RETRY_MOST, _RETRY_FIRST * 2 ** (state.cleanup_failures - 1))
    state.cleanup_retry_at = time.time() + delay
    message = error.message if isinstance(error, RuntimeFailure) else str(error)
    context.tell(state, "Warning", "FailedKillPod", f"error cleaning up the pod: {message}")
