"""What a container's end means: its reason, its last words, and whether memory was the cause."""

from __future__ import annotations

import asyncio
import time
from pathlib import Path

from pilothouse.kinds.core.pod import Container
from pilothouse.node.context import Context
from pilothouse.node.cri import RuntimeFailure
from pilothouse.node.plan import find_container
from pilothouse.node.state import ContainerState, PodState
from pilothouse.node.stopping import KILLED, settle
from pilothouse.node.wire import cri_pb2 as cri

_OOM_NEAR = 5.0
"""Seconds between the kernel's kill and the end of the first process within which one caused the other: an earlier kill
of some child marks the container too, although it went on."""
_MESSAGE_LIMIT = 4096
_LOG_LIMIT, _LOG_LINES = 2048, 80
_SETTLE_SECONDS, _SETTLE_WAIT = 5.0, 0.02
"""How long the runtime may take to see an end that its events told already: it copies the log first."""


def exited(context: Context, state: PodState, container_id: str, exit_code: int, at: float) -> None:
    """The runtime told that a first process ended: of the sandbox, or of a container."""
    if state.sandbox is not None and state.sandbox.id == container_id:
        state.sandbox.ready = False
        context.wake(state.uid)
        return
    for run in state.containers.values():
        if run.id == container_id and not run.exited:
            context.probes.end(run)
            context.tasks.cancel(state.uid, f"postStart hook of {run.name}")
            settle(run, exit_code, at)
            context.tasks.start(state.uid, f"last words of {run.id}", _finish(context, state, run))


def out_of_memory(state: PodState, container_id: str) -> None:
    """Some process of a container was killed for want of memory."""
    for run in state.containers.values():
        if run.id == container_id:
            run.oom_at = time.time()


async def _finish(context: Context, state: PodState, run: ContainerState) -> None:
    """Finds out what the exit's event does not tell, then has the pod looked at."""
    try:
        await _explain(context, state, run)
    finally:
        context.wake(state.uid)


async def _explain(context: Context, state: PodState, run: ContainerState) -> None:
    container = find_container(state.pod, run.name) if state.pod is not None else None
    fallback = container is not None and container.termination_message_policy == "FallbackToLogsOnError"
    if (run.exit_code == KILLED and not run.stopping_since) or (fallback and run.exit_code != 0):
        status = await _settled(context, run)
        marked = status is not None and status.reason == "OOMKilled"
        if run.exit_code == KILLED and _memory_did_it(run, marked=marked):
            run.reason = "OOMKilled"
    if container is not None:
        path = context.config.layout.message(state.uid, run.name, run.attempt)
        run.message = await asyncio.to_thread(_last_words, path, container, run)


def _memory_did_it(run: ContainerState, *, marked: bool) -> bool:
    if run.oom_at:
        return run.finished_at - run.oom_at <= _OOM_NEAR
    return marked and run.finished_at - run.started_at <= _OOM_NEAR


async def _settled(context: Context, run: ContainerState) -> cri.ContainerStatus | None:
    """The runtime's status once it too has seen the end; by then the log is complete."""
    pause, until = _SETTLE_WAIT, time.monotonic() + _SETTLE_SECONDS
    while True:
        try:
            status = await context.runtime.container_status(run.id)
        except RuntimeFailure:
            return None
        if status.state == cri.CONTAINER_EXITED:
            return status
        if time.monotonic() > until:
            return None
        await asyncio.sleep(pause)
        pause = min(2 * pause, 0.5)


def _last_words(path: Path, container: Container, run: ContainerState) -> str:
    """The termination message: what the container wrote to its file, or the end of its log."""
    try:
        with path.open("rb") as file:
            message = file.read(_MESSAGE_LIMIT).decode("utf-8", "replace")
    except OSError:
        message = ""
    if message or run.exit_code == 0 or container.termination_message_policy != "FallbackToLogsOnError":
        return message
    return log_tail(Path(run.log_path))


def log_tail(path: Path, lines: int = _LOG_LINES, limit: int = _LOG_LIMIT) -> str:
    """The last lines of a log in CRI format, without time and stream."""
    try:
        with path.open("rb") as file:
            file.seek(max(0, path.stat().st_size - 4 * limit))
            raw = file.read().decode("utf-8", "replace").splitlines()[-lines:]
    except OSError:
        return ""
    words = [line.split(" ", 3) for line in raw]
    text = "".join(word[3] + ("\n" if word[2] == "F" else "") for word in words if len(word) == 4)
    return text[-limit:]
