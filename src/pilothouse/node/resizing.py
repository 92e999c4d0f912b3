"""In-place resize: a running container gets other limits, its pod's group with it, and nothing restarts."""

from __future__ import annotations

import asyncio
import time

from pilothouse.kinds.core.pod import Pod
from pilothouse.linux.cgroups import GroupLimits
from pilothouse.node.context import Context
from pilothouse.node.cri import RuntimeFailure
from pilothouse.node.eviction.admit import without_room
from pilothouse.node.plan import find_container, holds_resources
from pilothouse.node.resources import CPU_PERIOD_US, cgroup_parent, container_limits, pod_limits, resizable
from pilothouse.node.sandbox import share_cpu
from pilothouse.node.state import PodState, Resize
from pilothouse.node.swap import swap_bytes
from pilothouse.node.wire import cri_pb2 as cri

_RETRY = 30.0


async def resize(context: Context, state: PodState, name: str) -> None:
    """Gives a container what its specification says now; what stands in the way is shown in the pod's conditions."""
    pod, run = state.pod, state.containers[name]
    container = find_container(pod, name) if pod is not None else None
    if pod is None or container is None:
        return
    held = _room(context, state, pod)
    if held is not None:
        _hold(context, state, held)
        return
    limits, before = container_limits(container), run.limits
    swap = swap_bytes(pod, container, context.swap)
    growing = before is None or not before.memory_bytes or limits.memory_bytes >= before.memory_bytes
    resources = cri.LinuxContainerResources(
        cpu_period=CPU_PERIOD_US,
        cpu_quota=limits.cpu_quota_us,
        cpu_shares=limits.cpu_shares,
        memory_limit_in_bytes=limits.memory_bytes,
        memory_swap_limit_in_bytes=limits.memory_bytes + swap if limits.memory_bytes else 0,
    )
    try:
        if growing:
            await asyncio.to_thread(_pod_group, context, pod)
        await context.runtime.update_resources(run.id, resources)
        if not growing:
            await asyncio.to_thread(_pod_group, context, pod)
    except (RuntimeFailure, OSError) as error:
        message = error.message if isinstance(error, RuntimeFailure) else str(error)
        _hold(context, state, Resize("PodResizeInProgress", "Error", message))
        return
    run.resources, run.limits = resizable(container), limits
    state.resize = None
    context.tell(state, "Normal", "ResizeCompleted", f"Pod resize completed: container {name}", name)


def _room(context: Context, state: PodState, pod: Pod) -> Resize | None:
    """Why the node cannot give what is asked for now, or ever."""
    never = without_room(pod, [], context.allocatable)
    if never is not None:
        return Resize("PodResizePending", "Infeasible", never.message.removeprefix("Pod was rejected: "))
    others = [o.pod for o in context.pods if o is not state and o.pod is not None and holds_resources(o)]
    later = without_room(pod, others, context.allocatable)
    if later is not None:
        return Resize("PodResizePending", "Deferred", later.message.removeprefix("Pod was rejected: "))
    return None


def _hold(context: Context, state: PodState, why: Resize) -> None:
    if state.resize is None or (state.resize.reason, state.resize.message) != (why.reason, why.message):
        context.tell(state, "Warning", f"Resize{why.reason}", why.message)
    state.resize, state.resize_retry_at = why, time.time() + _RETRY


def _pod_group(context: Context, pod: Pod) -> None:
    share_cpu(context)
    limits = pod_limits(pod)
    context.cgroups.limit(
        cgroup_parent(context.config.cgroup_root, pod),
        GroupLimits(limits.cpu_shares, limits.cpu_quota_us, limits.memory_bytes),
    )
