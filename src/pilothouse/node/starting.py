"""Creating and starting a container: environment, mounts and configuration put together and given to the runtime."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import re
import time

from pilothouse.kinds.core.pod import Container, EphemeralContainer, Pod
from pilothouse.machinery.errors import ApiError
from pilothouse.machinery.quantity import parse_quantity
from pilothouse.node import hooks
from pilothouse.node.context import Context
from pilothouse.node.cri import RuntimeAway, RuntimeFailure, RuntimeTimeout
from pilothouse.node.devices.given import Given, hand_out
from pilothouse.node.devices.ledger import NoDevices
from pilothouse.node.environment import Sources, UnmetReference, environment
from pilothouse.node.hashing import spec_hash
from pilothouse.node.images.store import ImageInfo
from pilothouse.node.plan import find_container
from pilothouse.node.references import config_map_names, secret_names
from pilothouse.node.resources import container_limits, resizable
from pilothouse.node.runtime_config import BindMount, container_config, log_directory
from pilothouse.node.sandbox import config_of, volume_sources
from pilothouse.node.security import RefusedConfiguration
from pilothouse.node.state import BACKOFF_FIRST, Backoff, ContainerState, Phase, PodState, Waiting
from pilothouse.node.volumes.payload import VolumeError

log = logging.getLogger(__name__)

_RESERVED = re.compile(r'is reserved for "([0-9a-f]{64})"')
_CONFIG_RETRY = 10.0
START_ERROR_CODE = 128
"""The exit code of a container that could not be started, as containerd reports it."""


async def start_container(context: Context, state: PodState, name: str, attempt: int) -> None:
    """Makes and starts one attempt; failures become the container's waiting reason."""
    pod, sandbox = state.pod, state.sandbox
    assert pod is not None
    container = find_container(pod, name)
    image = await context.images.find(state.images[name])
    if container is None or sandbox is None or image is None:
        state.images.pop(name, None)
        return
    try:
        run = await _create(context, state, pod, container, attempt, image)
    except (UnmetReference, RefusedConfiguration, VolumeError, ApiError) as error:
        message = error.message if isinstance(error, ApiError) else str(error)
        _hold(context, state, name, "CreateContainerConfigError", f"{message}", f"Error: {message}")
        return
    except NoDevices as error:
        _hold(context, state, name, "UnexpectedAdmissionError", str(error), f"Error: {error}")
        return
    except (RuntimeFailure, OSError) as error:
        message = error.message if isinstance(error, RuntimeFailure) else str(error)
        await _free_name(context, message)
        _hold(context, state, name, "CreateContainerError", message, f"Error: {message}")
        return
    context.tell(state, "Normal", "Created", f"Created container: {name}", name)
    now = time.time()
    if attempt > 0:
        backoff = state.restarts.get(name)
        state.restarts[name] = backoff.next(now) if backoff is not None else Backoff(BACKOFF_FIRST, now)
    try:
        await context.runtime.start_container(run.id)
    except (RuntimeAway, RuntimeTimeout):
        run.uncertain = True
        return
    except RuntimeFailure as error:
        context.pods.counts.failed_containers += 1
        run.phase, run.finished_at = Phase.EXITED, time.time()
        run.exit_code, run.reason, run.message = START_ERROR_CODE, "StartError", error.message
        state.waiting[name] = Waiting("RunContainerError", error.message, since=now, until=now + 1)
        context.tell(state, "Warning", "Failed", f"Error: {error.message}", name)
        return
    context.pods.counts.started_containers += 1
    state.waiting.pop(name, None)
    state.images.pop(name, None)
    run.started_at = await _started_at(context, run.id)
    context.tell(state, "Normal", "Started", f"Started container {name}", name)
    if run.exited:
        return  # its exit was told before its start
    run.phase = Phase.RUNNING
    begin(context, state, container, run)


async def _started_at(context: Context, container_id: str) -> float:
    """By the runtime's clock, which is what a later process of this node will read: the time shown never changes."""
    try:
        return (await context.runtime.container_status(container_id)).started_at / 1e9 or time.time()
    except RuntimeFailure:
        return time.time()


def begin(context: Context, state: PodState, container: Container, run: ContainerState) -> None:
    """What a running container needs from now on: its postStart hook, then its probes."""
    lifecycle = container.lifecycle
    if lifecycle is not None and lifecycle.post_start is not None and not run.hook_done:
        context.tasks.start(
            state.uid, f"postStart hook of {run.name}", hooks.post_start(context, state, container, run)
        )
        return
    hooks.started(context, state, container, run)


async def _create(
    context: Context, state: PodState, pod: Pod, container: Container, attempt: int, image: ImageInfo
) -> ContainerState:
    sandbox = state.sandbox
    assert sandbox is not None
    variables = environment(pod, container, await _sources(context, state, pod, container))
    if not context.volumes.knows(state.uid, container):
        # Found set up by an earlier process of this node, or first mounted by a container that was added.
        await context.volumes.set_up(pod, volume_sources(context, state))
    mounts = await context.volumes.binds(pod, container, variables)
    mounts += await asyncio.to_thread(
        _own_mounts, context, state, container, attempt, {m.container_path for m in mounts}
    )
    placement = context.placement(pod)
    config = container_config(
        pod,
        container,
        attempt,
        image_id=image.id,
        image_ref=image.ref,
        image_user=image.user,
        environment=variables,
        mounts=mounts,
        placement=placement,
        target=_target(state, container),
    )
    hand_out(config, context.volumes.devices(pod, container), await _given(context, state, container))
    container_id = await context.runtime.create_container(sandbox.id, config, config_of(context, pod, sandbox.attempt))
    lifecycle = container.lifecycle
    run = ContainerState(
        name=container.name,
        id=container_id,
        attempt=attempt,
        sandbox_id=sandbox.id,
        created_at=time.time(),
        image=container.image,
        image_id=image.ref,
        spec_hash=spec_hash(container),
        resources=resizable(container),
        limits=container_limits(container),
        log_path=f"{log_directory(placement.log_root, pod.namespace, pod.name, state.uid)}/{config.log_path}",
        hook_done=lifecycle is None or lifecycle.post_start is None,
    )
    context.pods.own(container_id, state.uid)
    before, older = state.containers.get(container.name), state.previous.get(container.name)
    state.containers[container.name] = run
    if before is not None:
        state.previous[container.name] = before
    if older is not None:
        context.pods.disown(older.id)
        context.tasks.start(state.uid, f"removal of {older.id}", _remove(context, older))
    return run


async def _given(context: Context, state: PodState, container: Container) -> Given:
    """What device plugins give for the resources that the container's limits name. Raises NoDevices, OSError."""
    limits = container.resources.limits if container.resources is not None else {}
    asked = {name: int(parse_quantity(text)) for name, text in limits.items() if "/" in name}
    if not asked or context.devices is None:
        return Given()
    return await context.devices.allocate(state.uid, container.name, asked)


def _target(state: PodState, container: Container) -> str:
    """The id of the container whose processes an ephemeral one is to see. Raises RefusedConfiguration."""
    name = container.target_container_name if isinstance(container, EphemeralContainer) else ""
    if not name:
        return ""
    run = state.containers.get(name)
    if run is None or not run.running:
        raise RefusedConfiguration(f'unable to find target container "{name}": it is not running')
    return run.id


async def _free_name(context: Context, message: str) -> None:
    """A container whose making was cut short keeps its name reserved: it is removed, so that the next try succeeds."""
    reserved = _RESERVED.search(message)
    if reserved:
        with contextlib.suppress(RuntimeFailure):
            await context.runtime.remove_container(reserved[1])


async def _remove(context: Context, run: ContainerState) -> None:
    """Removes an attempt that is neither the newest nor the one before, and its log."""
    try:
        await context.runtime.remove_container(run.id)
    except RuntimeFailure as error:
        # It goes with the sandbox at the latest.
        log.debug("removing %s: %s", run.id, error)
    await asyncio.to_thread(_unlink, run.log_path)


def _unlink(path: str) -> None:
    with contextlib.suppress(OSError):
        os.unlink(path)


async def _sources(context: Context, state: PodState, pod: Pod, container: Container) -> Sources:
    uid, namespace = state.uid, pod.namespace
    config_maps = {
        name: found
        for name in sorted(config_map_names(container))
        if (found := await context.references.config_map(uid, namespace, name)) is not None
    }
    secrets = {
        name: secret
        for name in sorted(secret_names(container))
        if (secret := await context.references.secret(uid, namespace, name)) is not None
    }
    services = [s for s in context.services if s.namespace == namespace or s.key == "default/kubernetes"]
    return Sources(
        config_maps=config_maps,
        secrets=secrets,
        services=services,
        pod_ips=state.ips,
        host_ips=context.config.addresses,
        node_name=context.config.name,
        allocatable=context.allocatable,
    )


def _own_mounts(
    context: Context, state: PodState, container: Container, attempt: int, taken: set[str]
) -> list[BindMount]:
    """/etc/hosts and the termination message's file, unless the pod mounts something there itself."""
    mounts = []
    if "/etc/hosts" not in taken:
        mounts.append(BindMount(str(context.config.layout.hosts(state.uid)), "/etc/hosts"))
    path = container.termination_message_path
    if path and path not in taken:
        target = context.config.layout.message(state.uid, container.name, attempt)
        target.parent.mkdir(parents=True, exist_ok=True)
        target.touch()
        # Any user the container may run as is to write it.
        target.chmod(0o666)
        mounts.append(BindMount(str(target), path))
    return mounts


def _hold(context: Context, state: PodState, name: str, reason: str, message: str, event: str) -> None:
    now = time.time()
    state.waiting[name] = Waiting(reason, message, since=now, until=now + _CONFIG_RETRY)
    context.tell(state, "Warning", "Failed", event, name)
