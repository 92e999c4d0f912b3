"""Lifecycle hooks: postStart before a container counts as started, preStop before it is told to stop."""

from __future__ import annotations

import asyncio
import logging

from pilothouse.kinds.core.pod import Container, LifecycleHandler
from pilothouse.node.context import Context
from pilothouse.node.cri import RuntimeFailure
from pilothouse.node.probes.http import get
from pilothouse.node.probes.target import port_number
from pilothouse.node.state import ContainerState, PodState

log = logging.getLogger(__name__)

_HTTP_TIMEOUT = 30.0
_EXEC_TIMEOUT = 3600.0


class HookFailed(Exception):
    """A hook did not succeed; the message says how."""


async def post_start(context: Context, state: PodState, container: Container, run: ContainerState) -> None:
    """Runs the hook; a container whose hook fails is killed and restarted by its policy."""
    assert container.lifecycle is not None
    assert container.lifecycle.post_start is not None
    try:
        await run_hook(context, state, container, run, container.lifecycle.post_start, _EXEC_TIMEOUT)
    except HookFailed as error:
        if run.running:
            context.tell(state, "Warning", "FailedPostStartHook", f"PostStartHook failed: {error}", run.name)
            run.kill_reason = "FailedPostStartHook"
            context.wake(state.uid)
        return
    run.hook_done = True
    if run.running:
        started(context, state, container, run)
    context.wake(state.uid)


def started(context: Context, state: PodState, container: Container, run: ContainerState) -> None:
    """The hook is over, or there was none: probes begin, and without any the container is ready."""
    if container.startup_probe is None:
        run.started = True
        run.ready = run.ready or container.readiness_probe is None
    context.probes.begin(state, container, run)


async def run_hook(
    context: Context,
    state: PodState,
    container: Container,
    run: ContainerState,
    handler: LifecycleHandler,
    timeout: float,
) -> None:
    """Raises HookFailed."""
    try:
        async with asyncio.timeout(timeout):
            if handler.exec is not None:
                code, output = await context.runtime.exec_sync(run.id, handler.exec.command, timeout)
                if code != 0:
                    raise HookFailed(f"command exited with {code}: {output[-1024:].decode('utf-8', 'replace').strip()}")
            elif handler.http_get is not None:
                action = handler.http_get
                host = action.host or state.ip or context.config.address
                outcome = await get(action, host, port_number(container, action.port), min(timeout, _HTTP_TIMEOUT))
                if not outcome.success:
                    raise HookFailed(outcome.message)
            elif handler.sleep is not None:
                await asyncio.sleep(handler.sleep.seconds)
            else:
                raise HookFailed("the hook is of a kind this node does not run (tcpSocket)")
    except RuntimeFailure as error:
        raise HookFailed(error.message) from error
    except TimeoutError:
        raise HookFailed(f"it took longer than {timeout:.0f} s") from None
