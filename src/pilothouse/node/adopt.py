"""What runs already when the node starts: found by labels in the runtime, and by the pods kept on disk.

Nothing healthy is touched here. What the runtime has and nobody owns is a pod without a specification; it is removed
once the API server has said which pods there are.
"""

from __future__ import annotations

import asyncio
import logging

import msgspec

from pilothouse.kinds.core.pod import Pod
from pilothouse.node import labels
from pilothouse.node.context import Context
from pilothouse.node.cri import RuntimeFailure
from pilothouse.node.plan import find_container
from pilothouse.node.starting import begin
from pilothouse.node.state import ContainerState, Phase, PodState, SandboxState
from pilothouse.node.wire import cri_pb2 as cri

log = logging.getLogger(__name__)

_AT_ONCE = 16


async def kept_pods(context: Context) -> list[Pod]:
    """The pods this node last knew, from disk; files that cannot be read are passed over."""
    return await asyncio.to_thread(_read_kept, context)


def _read_kept(context: Context) -> list[Pod]:
    pods: list[Pod] = []
    decoder = msgspec.json.Decoder(Pod)
    for path in context.config.layout.pods.glob("*/pod.json"):
        try:
            pods.append(decoder.decode(path.read_bytes()))
        except (OSError, msgspec.DecodeError) as error:
            log.warning("%s cannot be read (%s); the API server's copy is awaited", path, error)
    return pods


def keep(context: Context, pod: Pod) -> None:
    """Keeps the pod on disk. Raises OSError."""
    path = context.config.layout.spec(pod.metadata.uid)
    path.parent.mkdir(parents=True, exist_ok=True)
    fresh = path.with_suffix(".new")
    fresh.write_bytes(msgspec.json.encode(pod))
    fresh.replace(path)


async def adopt(context: Context) -> None:
    """Lists the runtime's sandboxes and containers into the states of their pods. Raises RuntimeFailure."""
    sandboxes = await context.runtime.list_sandboxes()
    containers = await context.runtime.list_containers()
    slots = asyncio.Semaphore(_AT_ONCE)

    async def limited(state: PodState, listed: cri.Container) -> None:
        async with slots:
            await _take_container(context, state, listed)

    for sandbox in sorted(sandboxes, key=lambda s: s.metadata.attempt):
        _take_sandbox(context, sandbox)
    newest = _newest(containers)
    await asyncio.gather(
        *(limited(state, listed) for listed in newest if (state := _owner(context, listed.labels)) is not None)
    )
    await asyncio.gather(*(_details(context, state, slots) for state in context.pods))


def _owner(context: Context, given: object) -> PodState | None:
    uid = given.get(labels.POD_UID, "") if hasattr(given, "get") else ""
    if not uid:
        return None
    state = context.pods.by_uid(uid)
    if state is None:
        state = PodState(uid, given.get(labels.POD_NAMESPACE, ""), given.get(labels.POD_NAME, ""))  # type: ignore[attr-defined]
        context.pods.add(state)
    return state


def _take_sandbox(context: Context, listed: cri.PodSandbox) -> None:
    state = _owner(context, listed.labels)
    if state is None:
        return
    context.pods.own(listed.id, state.uid)
    known = state.sandbox
    if known is not None and known.id == listed.id:
        known.ready = listed.state == cri.SANDBOX_READY
        return
    if known is not None and known.id not in state.old_sandboxes:
        state.old_sandboxes.append(known.id)
    state.sandbox = SandboxState(
        listed.id,
        listed.metadata.attempt,
        ready=listed.state == cri.SANDBOX_READY,
        created_at=listed.created_at / 1e9,
        runtime_handler=listed.runtime_handler,
    )
    state.sandbox_attempt = max(state.sandbox_attempt, listed.metadata.attempt + 1)


def _newest(containers: list[cri.Container]) -> list[cri.Container]:
    """The two newest attempts of each container, older first."""
    by_name: dict[tuple[str, str], list[cri.Container]] = {}
    for container in containers:
        key = (container.labels.get(labels.POD_UID, ""), container.metadata.name)
        by_name.setdefault(key, []).append(container)
    return [c for group in by_name.values() for c in sorted(group, key=lambda c: c.metadata.attempt)[-2:]]


async def _take_container(context: Context, state: PodState, listed: cri.Container) -> None:
    if listed.state == cri.CONTAINER_CREATED:
        # Made and never started by a node that was stopped between the two: made anew instead.
        await context.runtime.remove_container(listed.id)
        return
    known = state.containers.get(listed.metadata.name)
    if known is not None and known.id == listed.id and (known.exited or listed.state == cri.CONTAINER_RUNNING):
        return
    status = await context.runtime.container_status(listed.id)
    run = _run(status, listed)
    context.pods.own(run.id, state.uid)
    if known is not None and known.id == run.id:
        known.phase, known.exit_code, known.finished_at = run.phase, run.exit_code, run.finished_at
        known.reason, known.ready, known.started = run.reason, False, False
        context.probes.end(known)
    elif known is None or run.attempt > known.attempt:
        if known is not None:
            state.previous[run.name] = known
        state.containers[run.name] = run
    else:
        state.previous[run.name] = run


def _run(status: cri.ContainerStatus, listed: cri.Container) -> ContainerState:
    exited = status.state != cri.CONTAINER_RUNNING
    return ContainerState(
        name=status.metadata.name,
        id=status.id,
        attempt=status.metadata.attempt,
        phase=Phase.EXITED if exited else Phase.RUNNING,
        sandbox_id=listed.pod_sandbox_id,
        created_at=status.created_at / 1e9,
        started_at=status.started_at / 1e9,
        finished_at=status.finished_at / 1e9,
        exit_code=status.exit_code,
        reason=(status.reason or ("Completed" if status.exit_code == 0 else "Error")) if exited else "",
        message=status.message if exited else "",
        image=status.image.image,
        image_id=status.annotations.get(labels.IMAGE_ID, "") or status.image_ref,
        spec_hash=status.annotations.get(labels.CONTAINER_HASH, ""),
        log_path=status.log_path,
    )


async def _details(context: Context, state: PodState, slots: asyncio.Semaphore) -> None:
    """The address and network namespace of a sandbox, and the probes of containers that run."""
    sandbox = state.sandbox
    if sandbox is not None and sandbox.ready and not sandbox.ip:
        async with slots:
            try:
                status, sandbox.netns = await context.runtime.sandbox_status(sandbox.id)
                sandbox.ip = status.network.ip
            except RuntimeFailure as error:
                log.warning("sandbox of %s: %s", state.key, error)
    resume(context, state)


def resume(context: Context, state: PodState) -> None:
    """Takes up the probes of containers that run, from what the API last showed, so that none turns unready for a moment."""
    if state.pod is None:
        return
    shown = {s.name: s for s in [*state.pod.status.container_statuses, *state.pod.status.init_container_statuses]}
    for run in state.containers.values():
        container = find_container(state.pod, run.name)
        if container is None or not run.running or context.probes.has(run):
            continue
        status = shown.get(run.name)
        if status is not None and status.container_id == f"containerd://{run.id}":
            run.ready, run.started = status.ready, bool(status.started)
        begin(context, state, container, run)
