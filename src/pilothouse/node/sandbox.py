"""Making a pod's sandbox and volumes, side by side, and doing away with a sandbox that died."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from pathlib import Path

from pilothouse.kinds.core.pod import Pod
from pilothouse.kinds.node.runtime_class import RuntimeClass
from pilothouse.linux.cgroups import GroupLimits
from pilothouse.machinery.errors import ApiError
from pilothouse.node.context import Context
from pilothouse.node.cri import RuntimeFailure, RuntimeMissing
from pilothouse.node.environment import Sources
from pilothouse.node.names import hosts_file, resolver
from pilothouse.node.plan import holds_resources
from pilothouse.node.resources import cgroup_parent, pod_limits, qos_shares
from pilothouse.node.runtime_config import sandbox_config
from pilothouse.node.state import PodState, SandboxState
from pilothouse.node.stopping import KILLED, settle
from pilothouse.node.volumes.payload import VolumeError
from pilothouse.node.volumes.unfinished import QUIET_SECONDS, Unfinished
from pilothouse.node.wire import cri_pb2 as cri

_RETRY_FIRST, _RETRY_MOST = 0.5, 120.0


class NoSuchRuntimeClass(Exception):
    """The pod names a RuntimeClass that does not exist."""


async def prepare(context: Context, state: PodState, *, sandbox: bool, volumes: bool) -> None:
    """Makes what is asked for at the same time; failures are noted in the state with the time of the next try."""
    work = []
    if sandbox:
        work.append(_make_sandbox(context, state))
    if volumes:
        work.append(_make_volumes(context, state))
    await asyncio.gather(*work)


def config_of(context: Context, pod: Pod, attempt: int) -> cri.PodSandboxConfig:
    """The sandbox's configuration, which containers made in it are to repeat."""
    names = resolver(pod, context.host_resolver, context.config.cluster_dns, context.config.domain)
    return sandbox_config(pod, attempt, names, context.placement(pod))


async def _make_sandbox(context: Context, state: PodState) -> None:
    pod = state.pod
    assert pod is not None
    attempt, state.sandbox_attempt = state.sandbox_attempt, state.sandbox_attempt + 1
    try:
        handler = await _handler(context, pod)
        await asyncio.to_thread(_make_cgroup, context, pod)
        sandbox_id = await context.runtime.run_sandbox(config_of(context, pod, attempt), handler)
        context.pods.own(sandbox_id, state.uid)
        state.sandbox = SandboxState(sandbox_id, attempt, created_at=time.time(), runtime_handler=handler)
        status, state.sandbox.netns = await context.runtime.sandbox_status(sandbox_id)
        take_addresses(state.sandbox, status)
        if context.pod_starting is not None and state.ips:
            await context.pod_starting(pod, *state.ips)
        await asyncio.to_thread(write_hosts, context, pod, state.ips)
    except (RuntimeFailure, ApiError, OSError, NoSuchRuntimeClass) as error:
        state.sandbox_failures += 1
        state.sandbox_retry_at = time.time() + _delay(state.sandbox_failures)
        if state.sandbox is not None:
            state.sandbox.ready = False
        message = error.message if isinstance(error, (RuntimeFailure, ApiError)) else str(error)
        state.sandbox_message = f"Failed to create pod sandbox: {message}"
        context.tell(state, "Warning", "FailedCreatePodSandBox", state.sandbox_message)
    else:
        context.pods.counts.started_pods += 1
        state.sandbox_failures, state.sandbox_message = 0, ""


async def _handler(context: Context, pod: Pod) -> str:
    name = pod.spec.runtime_class_name
    if not name:
        return ""
    found = await context.client.find(RuntimeClass, name)
    if found is None:
        raise NoSuchRuntimeClass(f'RuntimeClass "{name}" not found')
    return found.handler


def share_cpu(context: Context) -> None:
    """Gives each service class the CPU its pods ask for together. Runs in a thread. Raises OSError."""
    wanted = qos_shares(state.asks for state in context.pods if state.asks is not None and holds_resources(state))
    for name, number in wanted.items():
        if context.class_shares.get(name) != number:
            context.cgroups.create(f"{context.config.cgroup_root}/{name}", GroupLimits(cpu_shares=number))
            context.class_shares[name] = number


def _make_cgroup(context: Context, pod: Pod) -> None:
    share_cpu(context)
    limits, pids = pod_limits(pod), context.config.settings.pod_pids_limit
    context.cgroups.create(
        cgroup_parent(context.config.cgroup_root, pod),
        GroupLimits(limits.cpu_shares, limits.cpu_quota_us, limits.memory_bytes, max(0, pids)),
    )


def take_addresses(sandbox: SandboxState, status: cri.PodSandboxStatus) -> None:
    """Notes the addresses that the runtime tells of."""
    sandbox.ip = status.network.ip
    sandbox.more_ips = tuple(entry.ip for entry in status.network.additional_ips)


def write_hosts(context: Context, pod: Pod, addresses: Sequence[str]) -> None:
    """Writes the pod's /etc/hosts. Raises OSError."""
    path = context.config.layout.hosts(pod.metadata.uid)
    path.parent.mkdir(parents=True, exist_ok=True)
    host_file = Path("/etc/hosts").read_text(errors="replace") if pod.spec.host_network else ""
    path.write_text(hosts_file(pod, addresses, context.config.domain, host_file))


async def _make_volumes(context: Context, state: PodState) -> None:
    pod = state.pod
    assert pod is not None
    try:
        mounted = await context.volumes.set_up(pod, volume_sources(context, state))
    except (VolumeError, ApiError, OSError) as error:
        if isinstance(error, Unfinished) and error.quiet:
            state.volumes_retry_at = time.time() + QUIET_SECONDS
            state.volumes_message = str(error)
            return
        state.volumes_failures += 1
        state.volumes_retry_at = time.time() + _delay(state.volumes_failures)
        state.volumes_message = error.message if isinstance(error, ApiError) else str(error)
        context.tell(state, "Warning", "FailedMount", f"MountVolume.SetUp failed: {state.volumes_message}")
        return
    state.volumes_ready, state.volumes_failures, state.volumes_message = True, 0, ""
    if mounted.refresh_at:
        refresh_later(context, state, mounted.refresh_at)


def volume_sources(context: Context, state: PodState) -> Sources:
    """What downwardAPI volumes may tell."""
    return Sources(
        pod_ips=state.ips,
        host_ips=context.config.addresses,
        node_name=context.config.name,
        allocatable=context.allocatable,
    )


def refresh_later(context: Context, state: PodState, moment: float) -> None:
    """Renews the tokens in the pod's volumes when they are due."""
    context.tasks.start(state.uid, "volume refresh", _refresh(context, state, moment))


def refresh_now(context: Context, state: PodState) -> None:
    """Brings changed ConfigMaps and Secrets into the pod's volumes."""
    context.tasks.start(state.uid, "volume refresh", _refresh(context, state, 0.0))


async def _refresh(context: Context, state: PodState, moment: float) -> None:
    failures = 0
    while True:
        await asyncio.sleep(max(0.0, moment - time.time()))
        pod = state.pod
        if pod is None or state.torn_down or state.deleted:
            return
        try:
            moment = await context.volumes.refresh(pod, volume_sources(context, state))
        except (VolumeError, ApiError, OSError) as error:
            if isinstance(error, Unfinished) and error.quiet:
                moment = time.time() + _RETRY_FIRST
                continue
            failures += 1
            moment = time.time() + _delay(failures)
            message = error.message if isinstance(error, ApiError) else str(error)
            if failures in (1, 10):
                context.tell(state, "Warning", "FailedMount", f"MountVolume.SetUp failed: {message}")
            continue
        failures = 0
        if not moment:
            return


async def drop_sandbox(context: Context, state: PodState, sandbox_id: str) -> None:
    """Stops a sandbox (which gives its address back) and removes it with its containers. Raises RuntimeFailure."""
    try:
        await context.runtime.stop_sandbox(sandbox_id)
        await context.runtime.remove_sandbox(sandbox_id)
    except RuntimeMissing:
        pass
    context.pods.disown(sandbox_id)
    if sandbox_id in state.old_sandboxes:
        state.old_sandboxes.remove(sandbox_id)
    if state.sandbox is not None and state.sandbox.id == sandbox_id:
        state.sandbox = None
        context.tell(state, "Normal", "SandboxChanged", "Pod sandbox changed, it will be killed and re-created.")
    for run in [*state.containers.values(), *state.previous.values()]:
        if run.sandbox_id == sandbox_id:
            context.pods.disown(run.id)
            context.probes.end(run)
            if not run.exited:
                settle(run, KILLED, time.time())


def _delay(failures: int) -> float:
    return float(min(_RETRY_MOST, _RETRY_FIRST * 2 ** (failures - 1)))
