"""What is to be done next for one pod: a snapshot goes in, an ordered list of actions with no choices left comes out.

The plan names only what can be done at once; each action, once carried out, changes the snapshot, and the next plan
follows. Rules are upstream's (kubelet `computePodActions`): the sandbox first, init containers one after another with
sidecars kept running among them, then the containers; a pod that ends loses its sandbox and keeps its record.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TypeAlias

from pilothouse.kinds.core.pod import Container, Pod
from pilothouse.machinery.objects import parse_timestamp
from pilothouse.node.hashing import spec_hash
from pilothouse.node.resources import resizable
from pilothouse.node.state import BACKOFF_MOST, ContainerState, PodState, Waiting

DEFAULT_GRACE = 30
OVERDUE = 60.0
"""Seconds after its grace at which a container that still runs is stopped anew: the first stop came to nothing."""


@dataclass(frozen=True, slots=True)
class Fail:
    """The pod is over: phase Failed with this reason."""

    reason: str
    message: str


@dataclass(frozen=True, slots=True)
class Prepare:
    """Make the sandbox, the volumes, or both at once."""

    sandbox: bool
    volumes: bool


@dataclass(frozen=True, slots=True)
class DropSandbox:
    """Stop and remove a sandbox of an earlier attempt, with its containers."""

    id: str


@dataclass(frozen=True, slots=True)
class EnsureImage:
    """See that the container's image is there, pulling it in the background if it must be."""

    container: str


@dataclass(frozen=True, slots=True)
class Start:
    """Create and start a container."""

    container: str
    attempt: int


@dataclass(frozen=True, slots=True)
class Stop:
    """Begin to stop a container: preStop hook, stop signal, and after `grace` seconds the kill."""

    container: str
    grace: float
    why: str


@dataclass(frozen=True, slots=True)
class Resize:
    """Give a running container the CPU and memory its specification says now."""

    container: str


@dataclass(frozen=True, slots=True)
class TearDown:
    """Stop the sandbox, unmount volumes, remove the cgroup; the containers' records stay."""


@dataclass(frozen=True, slots=True)
class Clean:
    """Remove everything there is of the pod on this node, logs excepted."""


Action: TypeAlias = Fail | Prepare | DropSandbox | EnsureImage | Start | Resize | Stop | TearDown | Clean


@dataclass(slots=True)
class Plan:
    """`waiting` says why containers that should run do not; `again_at` is when time alone will change the plan."""

    actions: list[Action] = field(default_factory=list)
    waiting: dict[str, Waiting] = field(default_factory=dict)
    again_at: float | None = None

    def wake(self, moment: float) -> None:
        self.again_at = moment if self.again_at is None else min(self.again_at, moment)


def make_plan(state: PodState, now: float) -> Plan:
    """The next actions for a pod."""
    plan = Plan()
    pod = state.pod
    if state.cleaned:
        return plan
    if pod is None or state.deleted or pod.metadata.deletion_timestamp is not None:
        _end(plan, state, now, deletion_grace(state, now), "the pod is being deleted", clean=True)
        return plan
    if state.refusal is None:
        deadline = pod.spec.active_deadline_seconds
        if deadline is not None and not state.torn_down:
            if state.started_at + deadline <= now:
                message = "Pod was active on the node longer than the specified deadline"
                plan.actions.append(Fail("DeadlineExceeded", message))
                return plan
            plan.wake(state.started_at + deadline)
    if state.torn_down:
        return plan
    if state.refusal is not None or state.ended or is_over(state):
        _end(plan, state, now, _last_grace(state, pod), "the pod has ended", clean=False)
        return plan
    _run(plan, state, pod, now)
    return plan


def grace_of(pod: Pod) -> float:
    seconds = pod.spec.termination_grace_period_seconds
    return float(DEFAULT_GRACE if seconds is None else seconds)


def _last_grace(state: PodState, pod: Pod) -> float:
    own = grace_of(pod)
    return own if state.refusal is None or state.refusal.grace is None else min(own, state.refusal.grace)


def deletion_grace(state: PodState, now: float) -> float:
    """Seconds a pod that is being deleted still has."""
    pod = state.pod
    if pod is None:
        return float(DEFAULT_GRACE)
    if state.deleted and pod.metadata.deletion_timestamp is None:
        return grace_of(pod)
    seconds = pod.metadata.deletion_grace_period_seconds
    if seconds is None:
        return grace_of(pod)
    asked = pod.metadata.deletion_timestamp
    if asked is None:
        return float(seconds)
    # The API's deletionTimestamp already includes the grace: it is when the pod is to be gone.
    return max(0.0, min(float(seconds), parse_timestamp(asked).timestamp() - now + 1.0))


def is_sidecar(container: Container) -> bool:
    return container.restart_policy == "Always"


def restarts(pod: Pod, container: Container, state: ContainerState) -> bool:
    """Whether an exited container is to run again."""
    if is_sidecar(container) and container in pod.spec.init_containers:
        return True
    for rule in container.restart_policy_rules:
        codes = rule.exit_codes
        if codes is not None and (state.exit_code in codes.values) == (codes.operator == "In"):
            return rule.action == "Restart"
    policy = container.restart_policy or pod.spec.restart_policy
    return policy == "Always" or (policy == "OnFailure" and state.exit_code != 0)


def is_over(state: PodState) -> bool:
    """True once no container will run again: all ended for good, or an init container failed for good."""
    pod = state.pod
    if pod is None:
        return False
    ended = [state.containers.get(container.name) for container in pod.spec.containers]
    if all(
        run is not None and run.exited and not restarts(pod, container, run)
        for container, run in zip(pod.spec.containers, ended)
    ):
        return True
    if any(run is not None for run in ended):
        return False
    return any(
        run is not None and failed_for_good(pod, container, run)
        for container in pod.spec.init_containers
        for run in [state.containers.get(container.name)]
    )


def failed_for_good(pod: Pod, container: Container, run: ContainerState) -> bool:
    """Whether an init container failed and is not tried again."""
    return not is_sidecar(container) and run.exited and run.exit_code != 0 and not restarts(pod, container, run)


def holds_resources(state: PodState) -> bool:
    """Whether the pod was taken by this node and something of it runs or will: what it asked for is not free."""
    over = state.refusal is not None or state.ended or state.torn_down or state.cleaned
    return state.admitted and state.pod is not None and not over and not is_over(state)


def _run(plan: Plan, state: PodState, pod: Pod, now: float) -> None:
    """Brings the pod towards running."""
    plan.actions += [DropSandbox(sandbox) for sandbox in state.old_sandboxes]
    sandbox_ready = state.sandbox is not None and state.sandbox.ready
    if not sandbox_ready and state.sandbox is not None:
        plan.actions.append(DropSandbox(state.sandbox.id))
        return
    wanted = _wanted(state, pod)
    for container in wanted:
        _image(plan, state, container, now)
    make_sandbox = not sandbox_ready and state.sandbox_retry_at <= now
    make_volumes = not state.volumes_ready and state.volumes_retry_at <= now
    if make_sandbox or make_volumes:
        plan.actions.append(Prepare(make_sandbox, make_volumes))
    if not sandbox_ready and not make_sandbox:
        plan.wake(state.sandbox_retry_at)
    if not state.volumes_ready and not make_volumes:
        plan.wake(state.volumes_retry_at)
    if not sandbox_ready or not state.volumes_ready:
        return
    for run in state.containers.values():
        _stop_unwanted(plan, state, pod, run, now)
    for container in wanted:
        if container.name in state.images:
            _start(plan, state, pod, container, now)


def _wanted(state: PodState, pod: Pod) -> list[Container]:
    """The containers that should be running next and are not, in the order of their start.

    Ephemeral ones first and once only: they are there to find out why others do not start.
    """
    ephemeral: list[Container] = [c for c in pod.spec.ephemeral_containers if c.name not in state.containers]
    return ephemeral + _wanted_of_its_own(state, pod)


def _wanted_of_its_own(state: PodState, pod: Pod) -> list[Container]:
    wanted = []
    initialized = any(_ran_here(state, container) for container in pod.spec.containers)
    for container in pod.spec.init_containers:
        run = state.containers.get(container.name)
        ran = _ran_here(state, container)
        if is_sidecar(container):
            if not ran or run is None or run.exited:
                wanted.append(container)
            if not initialized and not (ran and run is not None and run.running and run.started):
                return wanted
            continue
        if initialized or (ran and run is not None and run.exited and run.exit_code == 0):
            continue
        if not ran or run is None or run.exited:
            wanted.append(container)
        return wanted
    for container in pod.spec.containers:
        run = state.containers.get(container.name)
        if run is None or (run.exited and restarts(pod, container, run)):
            wanted.append(container)
    return wanted


def _ran_here(state: PodState, container: Container) -> bool:
    """Whether the container ran in the present sandbox; init containers run again in a new one."""
    run = state.containers.get(container.name)
    return run is not None and state.sandbox is not None and run.sandbox_id == state.sandbox.id


def _image(plan: Plan, state: PodState, container: Container, now: float) -> None:
    name = container.name
    if name in state.images or name in state.pulling:
        return
    held = state.waiting.get(name)
    if held is not None and held.until > now:
        return
    run = state.containers.get(name)
    if run is not None and restart_at(state, run) > now:
        return
    plan.actions.append(EnsureImage(name))


def restart_at(state: PodState, run: ContainerState) -> float:
    """When an exited container may start again."""
    backoff = state.restarts.get(run.name)
    if backoff is None or run.finished_at - backoff.since > 2 * BACKOFF_MOST:
        return 0.0
    return run.finished_at + backoff.delay


def _start(plan: Plan, state: PodState, pod: Pod, container: Container, now: float) -> None:
    held = state.waiting.get(container.name)
    if held is not None and held.until > now:
        return
    run = state.containers.get(container.name)
    if run is not None and restart_at(state, run) > now:
        return
    plan.actions.append(Start(container.name, run.attempt + 1 if run is not None else 0))


def _stop_unwanted(plan: Plan, state: PodState, pod: Pod, run: ContainerState, now: float) -> None:
    """Stops a container that failed its probe or hook, or whose specification changed."""
    if not run.running or (run.stopping_since and not _overdue(run, now)):
        if run.running:
            plan.wake(run.kill_at + OVERDUE)
        return
    container = find_container(pod, run.name)
    if container is None:
        plan.actions.append(Stop(run.name, grace_of(pod), f"Container {run.name} is not part of the pod any more"))
    elif run.kill_reason:
        grace = run.kill_grace if run.kill_grace is not None else grace_of(pod)
        plan.actions.append(Stop(run.name, grace, run.kill_reason))
    elif run.spec_hash and run.spec_hash != spec_hash(container):
        plan.actions.append(
            Stop(run.name, grace_of(pod), f"Container {run.name} definition changed, will be restarted")
        )
    elif run.resources is not None and run.resources != resizable(container):
        _resize(plan, state, pod, container, run, now)


def unresized(state: PodState) -> list[str]:
    """The running containers that have other resources than their specification says now."""
    pod = state.pod
    found = {c.name: resizable(c) for c in all_containers(pod)} if pod is not None else {}
    return [
        run.name
        for run in state.containers.values()
        if run.running and run.resources is not None and run.resources != found.get(run.name, run.resources)
    ]


def _resize(plan: Plan, state: PodState, pod: Pod, container: Container, run: ContainerState, now: float) -> None:
    """In place, unless the container asks to be restarted for what changed."""
    if state.resize_retry_at > now:
        plan.wake(state.resize_retry_at)
        return
    new, old = resizable(container), run.resources or {}
    changed = {
        name
        for side in ("limits", "requests")
        for name in {*new.get(side, {}), *old.get(side, {})}
        if new.get(side, {}).get(name) != old.get(side, {}).get(name)
    }
    restarting = {p.resource_name for p in container.resize_policy if p.restart_policy == "RestartContainer"}
    if changed & restarting:
        plan.actions.append(Stop(run.name, grace_of(pod), f"Container {run.name} resize requires restart"))
    else:
        plan.actions.append(Resize(run.name))


def find_container(pod: Pod, name: str) -> Container | None:
    return next((c for c in all_containers(pod) if c.name == name), None)


def all_containers(pod: Pod) -> list[Container]:
    """Containers of every sort."""
    return [*pod.spec.init_containers, *pod.spec.containers, *pod.spec.ephemeral_containers]


def waiting_for(state: PodState, now: float) -> tuple[dict[str, Waiting], float | None]:
    """Why containers that should run do not, and when that changes by itself."""
    pod = state.pod
    result: dict[str, Waiting] = {}
    again: float | None = None
    if (
        pod is None
        or state.refusal is not None
        or state.ended
        or state.torn_down
        or pod.metadata.deletion_timestamp is not None
    ):
        return result, again
    if is_over(state):
        return result, again
    for container in _wanted(state, pod):
        held, run = state.waiting.get(container.name), state.containers.get(container.name)
        at = 0.0
        if held is not None and (held.until > now or container.name in state.pulling):
            result[container.name], at = _aged(held, container, now), held.until
            if held.reason == "ErrImagePull" and held.since + 1 > now:
                at = held.since + 1
        elif run is not None and run.exited and restart_at(state, run) > now:
            at = restart_at(state, run)
            delay = state.restarts[container.name].delay
            result[container.name] = Waiting(
                "CrashLoopBackOff",
                f"back-off {_duration(delay)} restarting failed container={container.name} "
                f"pod={pod.name}_{pod.namespace}({state.uid})",
                at,
            )
        if at > now:
            again = at if again is None else min(again, at)
    return result, again


def _aged(held: Waiting, container: Container, now: float) -> Waiting:
    """A failed pull is ErrImagePull at first and ImagePullBackOff while it waits to be tried again."""
    if held.reason == "ErrImagePull" and held.since + 1 <= now:
        message = f'Back-off pulling image "{container.image}": {held.message}'
        return Waiting("ImagePullBackOff", message, held.until, held.since)
    return held


def _duration(seconds: float) -> str:
    minutes, rest = divmod(int(seconds), 60)
    return f"{minutes}m{rest}s" if minutes else f"{rest}s"


def _end(plan: Plan, state: PodState, now: float, grace: float, why: str, *, clean: bool) -> None:
    """Stops what runs (sidecars after the others, in reverse order), then takes the pod apart."""
    running = [run for run in state.containers.values() if run.running]
    if running:
        for run in _next_to_stop(state.pod, running):
            left = min(grace, run.kill_grace) if run.kill_grace is not None else grace
            if not run.stopping_since or now + left < run.kill_at - 0.5 or _overdue(run, now):
                plan.actions.append(Stop(run.name, left, f"Stopping container {run.name}"))
            else:
                plan.wake(run.kill_at + OVERDUE)
        return
    if state.cleanup_retry_at > now:
        plan.wake(state.cleanup_retry_at)
        return
    plan.actions.append(Clean() if clean else TearDown())


def _overdue(run: ContainerState, now: float) -> bool:
    return bool(run.stopping_since) and now > run.kill_at + OVERDUE


def _next_to_stop(pod: Pod | None, running: list[ContainerState]) -> list[ContainerState]:
    sidecars = [c.name for c in pod.spec.init_containers if is_sidecar(c)] if pod is not None else []
    first = [run for run in running if run.name not in sidecars]
    if first:
        return first
    return [max(running, key=lambda run: sidecars.index(run.name))]
