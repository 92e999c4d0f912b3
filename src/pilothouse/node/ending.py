"""Taking a pod apart: its sandbox, volumes and cgroup, and at last everything there is of it."""

from __future__ import annotations

import asyncio
import contextlib
import time
from pathlib import Path

import msgspec

from pilothouse.node import labels
from pilothouse.node.context import Context
from pilothouse.node.cri import RuntimeFailure, RuntimeMissing
from pilothouse.node.resources import cgroup_parent
from pilothouse.node.sandbox import share_cpu
from pilothouse.node.state import PodState, Refusal
from pilothouse.node.volumes.unfinished import QUIET_SECONDS, Unfinished

_RETRY_FIRST, _RETRY_MOST = 1.0, 60.0
_QOS = ("guaranteed", "burstable", "besteffort")


class _Ended(msgspec.Struct):
    """Why a pod was ended, as kept on disk: a node that is started anew must not let it run on."""

    reason: str
    message: str
    grace: float | None = None
    disrupted: bool = False


_ENDED = msgspec.json.Decoder(_Ended)


async def end_pod(context: Context, state: PodState, why: Refusal) -> None:
    """Ends a pod for good: kept on disk first, then told and carried out. Raises OSError."""
    await asyncio.to_thread(_keep_end, context.config.layout.ended(state.uid), why)
    state.refusal = why
    context.tell(state, "Warning" if why.disrupted else "Normal", why.reason, why.message)
    context.wake(state.uid)


def _keep_end(path: Path, why: Refusal) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    fresh = path.with_suffix(".new")
    fresh.write_bytes(msgspec.json.encode(_Ended(why.reason, why.message, why.grace, why.disrupted)))
    fresh.replace(path)


def kept_end(context: Context, uid: str) -> Refusal | None:
    """Why an earlier process of this node ended the pod, None if none did."""
    with contextlib.suppress(OSError, msgspec.DecodeError):
        kept = _ENDED.decode(context.config.layout.ended(uid).read_bytes())
        return Refusal(kept.reason, kept.message, kept.grace, kept.disrupted)
    return None


async def tear_down(context: Context, state: PodState) -> None:
    """A pod that has ended gives its address, mounts and cgroup back; its containers' records and logs stay."""
    try:
        context.tasks.cancel(state.uid, "volume refresh")
        for sandbox_id in _sandboxes(state):
            await _stop(context, sandbox_id)
        await context.volumes.take_down(state.uid)
        await _release_devices(context, state)
        await asyncio.to_thread(_remove_cgroup, context, state)
    except (RuntimeFailure, OSError) as error:
        _later(context, state, error)
        return
    if state.sandbox is not None:
        state.sandbox.ready = False
    state.torn_down = True


async def _release_devices(context: Context, state: PodState) -> None:
    if context.devices is not None:
        await asyncio.to_thread(context.devices.release, state.uid)


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
        await _release_devices(context, state)
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
    share_cpu(context)
    root = context.config.cgroup_root
    paths = (
        [cgroup_parent(root, state.pod)] if state.pod is not None else [f"{root}/{qos}/pod{state.uid}" for qos in _QOS]
    )
    for path in paths:
        if not context.cgroups.remove(path):
            raise OSError(f"cgroup {path} still has processes in it")


def _later(context: Context, state: PodState, error: RuntimeFailure | OSError) -> None:
    if isinstance(error, Unfinished) and error.quiet:
        state.cleanup_retry_at = time.time() + QUIET_SECONDS
        return
    state.cleanup_failures += 1
    delay = min(_RETRY_MOST, _RETRY_FIRST * 2 ** (state.cleanup_failures - 1))
    state.cleanup_retry_at = time.time() + delay
    message = error.message if isinstance(error, RuntimeFailure) else str(error)
    context.tell(state, "Warning", "FailedKillPod", f"error cleaning up the pod: {message}")
