"""Seeing that a container's image is there, by its pull policy; pulls go on in the background."""

from __future__ import annotations

import asyncio
import time

from pilothouse.kinds.core.pod import Container
from pilothouse.machinery.errors import ApiError
from pilothouse.node.context import Context
from pilothouse.node.cri import RuntimeFailure
from pilothouse.node.images.reference import InvalidImageName, parse
from pilothouse.node.images.store import PullFailed
from pilothouse.node.plan import find_container
from pilothouse.node.state import BACKOFF_FIRST, BACKOFF_MOST, Backoff, PodState, Waiting

_NEVER_RETRY = 60.0
_PROGRESS_PERIOD = 2.0
"""Seconds between looks at how far a pull is; the status shows each, every fifth is an event."""
_EVENT_EVERY = 5


async def ensure_image(context: Context, state: PodState, name: str) -> None:
    """Finds the image or begins to pull it; what is wrong with it becomes the container's waiting reason."""
    assert state.pod is not None
    container = find_container(state.pod, name)
    assert container is not None
    try:
        parse(container.image)
        found = await context.images.find(container.image)
    except InvalidImageName as error:
        _hold(
            context, state, name, "InvalidImageName", f'Failed to apply default image tag "{container.image}": {error}'
        )
        return
    except RuntimeFailure as error:
        _hold(
            context, state, name, "ImageInspectError", f'Failed to inspect image "{container.image}": {error.message}'
        )
        return
    policy = container.image_pull_policy or "IfNotPresent"
    if found is not None and policy != "Always":
        state.images[name] = found.id
        state.pulls.pop(name, None)
        context.tell(state, "Normal", "Pulled", f'Container image "{container.image}" already present on machine', name)
    elif policy == "Never":
        message = f'Container image "{container.image}" is not present with pull policy of Never'
        _hold(context, state, name, "ErrImageNeverPull", message, seconds=_NEVER_RETRY)
    else:
        state.pulling.add(name)
        context.tasks.start(state.uid, f"pull for {name}", _pull(context, state, container))


async def _pull(context: Context, state: PodState, container: Container) -> None:
    name, began = container.name, time.time()
    progress = asyncio.create_task(_tell_progress(context, state, container))
    try:
        context.tell(state, "Normal", "Pulling", f'Pulling image "{container.image}"', name)
        assert state.pod is not None
        credentials = await context.keyring.credentials(state.pod, container.image)
        image = await context.images.pull(container.image, credentials)
    except (PullFailed, ApiError, RuntimeFailure) as error:
        _failed(context, state, container, error)
    else:
        state.images[name] = image.id
        state.pulls.pop(name, None)
        state.waiting.pop(name, None)
        took = time.time() - began
        message = (
            f'Successfully pulled image "{container.image}" in {took:.3f}s ({took:.3f}s including waiting). '
            f"Image size: {image.size_bytes} bytes."
        )
        context.tell(state, "Normal", "Pulled", message, name)
    finally:
        progress.cancel()
        state.pull_progress.pop(name, None)
        state.pulling.discard(name)
        context.wake(state.uid)


def _failed(context: Context, state: PodState, container: Container, error: Exception) -> None:
    now, name = time.time(), container.name
    before = state.pulls.get(name)
    delay = BACKOFF_FIRST if before is None else min(BACKOFF_MOST, before.delay * 2)
    state.pulls[name] = Backoff(delay, now)
    reason = error.reason if isinstance(error, PullFailed) else "ErrImagePull"
    message = error.message if isinstance(error, (PullFailed, ApiError, RuntimeFailure)) else str(error)
    context.tell(state, "Warning", "Failed", f'Failed to pull image "{container.image}": {message}', name)
    context.tell(state, "Warning", "Failed", f"Error: {reason}", name)
    context.tell(state, "Normal", "BackOff", f'Back-off pulling image "{container.image}"', name)
    state.waiting[name] = Waiting(reason, message, until=now + delay, since=now)


async def _tell_progress(context: Context, state: PodState, container: Container) -> None:
    """Says now and then how far a long pull is."""
    looks = 0
    while True:
        await asyncio.sleep(_PROGRESS_PERIOD)
        looks += 1
        try:
            received, expected = await context.images.progress()
        except RuntimeFailure:
            continue
        if not expected:
            continue
        message = f'Pulling image "{container.image}": {received / 2**20:.1f} of {expected / 2**20:.1f} MiB received'
        if context.images.pulls_under_way > 1:
            message += f" (of all {context.images.pulls_under_way} pulls under way)"
        state.pull_progress[container.name] = message
        context.wake(state.uid)
        if looks % _EVENT_EVERY == 0:
            context.tell(state, "Normal", "Pulling", message, container.name)


def _hold(
    context: Context, state: PodState, name: str, reason: str, message: str, *, seconds: float = BACKOFF_MOST
) -> None:
    now = time.time()
    if state.waiting.get(name) is None or state.waiting[name].reason != reason:
        context.tell(state, "Warning", reason if reason == "ErrImageNeverPull" else "Failed", message, name)
    state.waiting[name] = Waiting(reason, message, until=now + seconds, since=now)
