"""What runs already when the node starts: found by labels in the runtime, and by the pods kept on disk.

Nothing healthy is touched here. What the runtime has and nobody owns is a pod without a specification; it is removed
once the API server has said which pods there are.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Mapping

import msgspec

from pilothouse.kinds.core.pod import Pod, PodStatus
from pilothouse.node import exits, labels
from pilothouse.node.context import Context
from pilothouse.node.cri import RuntimeFailure
from pilothouse.node.plan import find_container
from pilothouse.node.sandbox import take_addresses
from pilothouse.node.starting import begin
from pilothouse.node.state import ContainerState, Phase, PodState, SandboxState
from pilothouse.node.status import rfc3339
from pilothouse.node.wire import cri_pb2 as cri

log = logging.getLogger(__name__)

_AT_ONCE = 16
_POD = msgspec.json.Decoder(Pod)
"""Made here and not in the thread that uses it: msgspec reads a class's fields at first use, and two threads that do so
at the same time crash the interpreter."""


async def kept_pods(context: Context) -> list[Pod]:
    """The pods this node last knew, from disk; files that cannot be read are passed over."""
    return await asyncio.to_thread(_read_kept, context)


def _read_kept(context: Context) -> list[Pod]:
    pods: list[Pod] = []
    for path in context.config.layout.pods.glob("*/pod.json"):
        try:
            pods.append(_POD.decode(path.read_bytes()))
        except (OSError, msgspec.DecodeError) as error:
            log.warning("%s cannot be read (%s); the API server's copy is awaited", path, error)
    return pods


def keep(context: Context, pod: Pod, started_at: float) -> None:
    """Keeps the pod, and when it started, on disk. Raises OSError."""
    pod = msgspec.structs.replace(pod, status=PodStatus(start_time=rfc3339(started_at)))
    path = context.config.layout.spec(pod.metadata.uid)
    path.parent.mkdir(parents=True, exist_ok=True)
    fresh = path.with_suffix(".new")
    fresh.write_bytes(msgspec.json.encode(pod))
    fresh.replace(path)


async def refresh(context: Context) -> None:
    """Takes over what became of known sandboxes and containers while their events could not be seen.

    Unknown ones are passed over: they may be in the making right now. Raises RuntimeFailure.
    """
    sandboxes = {sandbox.id: sandbox for sandbox in await context.runtime.list_sandboxes()}
    containers = {container.id: container for container in await context.runtime.list_containers()}
    for state in context.pods:
        known = state.sandbox
        listed = sandboxes.get(known.id) if known is not None else None
        if known is not None and known.ready and listed is not None and listed.state != cri.SANDBOX_READY:
            known.ready = False
            context.wake(state.uid)
        for run in list(state.containers.values()):
            now = containers.get(run.id)
            if now is not None and not run.exited:
                await _compare(context, state, run, now)


async def _compare(context: Context, state: PodState, run: ContainerState, listed: cri.Container) -> None:
    if run.uncertain and listed.state == cri.CONTAINER_CREATED:
        await context.runtime.remove_container(run.id)
        context.pods.disown(run.id)
        del state.containers[run.name]
        context.wake(state.uid)
    elif listed.state == cri.CONTAINER_EXITED:
        status = await context.runtime.container_status(run.id)
        exits.exited(context, state, run.id, status.exit_code, status.finished_at / 1e9)
    elif run.uncertain and listed.state == cri.CONTAINER_RUNNING:
        run.uncertain, run.phase, run.started_at = False, Phase.RUNNING, listed.created_at / 1e9
        resume(context, state, api_known=True)
        context.wake(state.uid)


async def adopt(context: Context, *, api_known: bool) -> None:
    """Lists the runtime's sandboxes and containers into the states of their pods; before any pod is worked on.

    With `api_known`, pods carry the status the API server last showed; without, what runs is taken to be ready.
    Raises RuntimeFailure.
    """
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
    for state in context.pods:
        resume(context, state, api_known=api_known)


def _owner(context: Context, given: Mapping[str, str]) -> PodState | None:
    uid = given.get(labels.POD_UID, "")
    if not uid:
        return None
    state = context.pods.by_uid(uid)
    if state is None:
        state = PodState(uid, given.get(labels.POD_NAMESPACE, ""), given.get(labels.POD_NAME, ""))
        context.pods.add(state)
    return state


def _take_sandbox(context: Context, listed: cri.PodSandbox) -> None:
    state = _owner(context, listed.labels)
    if state is None:
        return
    context.pods.own(listed.id, state.uid)
    if state.sandbox is not None:
        state.old_sandboxes.append(state.sandbox.id)
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
    status = await context.runtime.container_status(listed.id)
    run = _run(status, listed)
    context.pods.own(run.id, state.uid)
    known = state.containers.get(run.name)
    if known is None or run.attempt > known.attempt:
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
        resources=_resources(status.annotations.get(labels.RESOURCES, "")),
        log_path=status.log_path,
    )


def _resources(text: str) -> dict[str, dict[str, str]] | None:
    """What a container was started with; a resize since then is done again, which changes nothing."""
    try:
        return msgspec.json.decode(text, type=dict[str, dict[str, str]]) if text else None
    except msgspec.DecodeError:
        return None


async def _details(context: Context, state: PodState, slots: asyncio.Semaphore) -> None:
    """The address and network namespace of a sandbox."""
    sandbox = state.sandbox
    if sandbox is not None and sandbox.ready and not sandbox.ip:
        async with slots:
            try:
                status, sandbox.netns = await context.runtime.sandbox_status(sandbox.id)
                take_addresses(sandbox, status)
            except RuntimeFailure as error:
                log.warning("sandbox of %s: %s", state.key, error)


def resume(context: Context, state: PodState, *, api_known: bool) -> None:
    """Takes up the probes of running containers from what the API last showed, so that none turns unready meanwhile."""
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
        elif not api_known:
            run.ready = run.started = True
        begin(context, state, container, run)
