"""What this node knows of each pod: the observed half of every decision, and what streams and statistics read.

Pods are keyed by UID, because a pod deleted with grace 0 may still be stopping while its successor of the same name
starts. Times are seconds since the epoch.
"""

from __future__ import annotations

import enum
from collections.abc import Iterator
from dataclasses import dataclass, field

from pilothouse.kinds.core.pod import Pod
from pilothouse.node.counts import Counts
from pilothouse.node.resources import Limits

BACKOFF_FIRST = 10.0
BACKOFF_MOST = 300.0


class Phase(enum.StrEnum):
    """Where one container (one attempt) is in its life."""

    CREATED = "created"
    RUNNING = "running"
    EXITED = "exited"


@dataclass(slots=True)
class ContainerState:
    """One attempt at running a container of a pod, as the runtime has it."""

    name: str
    id: str
    attempt: int = 0
    """Also the restart count."""
    phase: Phase = Phase.CREATED
    sandbox_id: str = ""
    created_at: float = 0.0
    started_at: float = 0.0
    finished_at: float = 0.0
    exit_code: int = 0
    reason: str = ""
    """Once exited: Completed, Error, OOMKilled, ContainerCannotRun, …"""
    message: str = ""
    image: str = ""
    image_id: str = ""
    """The image as `name@sha256:…`, what `imageID` shows."""
    spec_hash: str = ""
    """Of the parts of the container's specification that cannot change without a new container."""
    resources: dict[str, dict[str, str]] | None = None
    """The CPU and memory it was last given; None when that is not known."""
    limits: Limits | None = None
    """The same as the kernel has it."""
    log_path: str = ""
    """The host path of its log in CRI format."""
    oom_at: float = 0.0
    """When the runtime last told of a process of this container killed for want of memory; 0 for never."""
    started: bool = False
    """The startup probe passed (or there is none) and the postStart hook returned."""
    ready: bool = False
    """The readiness probe passes (or there is none) and it is started."""
    hook_done: bool = True
    """False while its postStart hook runs."""
    stopping_since: float = 0.0
    """When this node began to stop it; 0 if it did not."""
    kill_at: float = 0.0
    """When its grace ends, once stopping."""
    uncertain: bool = False
    """The runtime went away while it was asked to start this: it may run or not."""
    removed: bool = False
    """Once exited: the runtime was told to forget it, and only this is left."""
    kill_reason: str = ""
    """Set when it must be stopped to be restarted: its liveness or startup probe failed, or its hook did."""
    kill_grace: float | None = None
    """The grace of that stop, when a probe names one of its own."""

    @property
    def running(self) -> bool:
        return self.phase is Phase.RUNNING

    @property
    def exited(self) -> bool:
        return self.phase is Phase.EXITED


@dataclass(slots=True)
class SandboxState:
    """The pod's sandbox: its namespaces and address."""

    id: str
    attempt: int = 0
    ready: bool = True
    ip: str = ""
    """Empty for pods in the host's network."""
    more_ips: tuple[str, ...] = ()
    """Addresses of other families."""
    netns: str = ""
    """Path of the network namespace, empty for the host's."""
    created_at: float = 0.0
    runtime_handler: str = ""


@dataclass(frozen=True, slots=True)
class Waiting:
    """Why a container is not running although it should be, as its `waiting` state shows it."""

    reason: str
    message: str = ""
    until: float = 0.0
    """Not tried again before this moment; 0 means that nothing is timed."""
    since: float = 0.0


@dataclass(frozen=True, slots=True)
class Backoff:
    """Back-off of a container's restarts, or of its pulls: `delay` seconds, set at `since`."""

    delay: float
    since: float

    def next(self, now: float) -> Backoff:
        """Twice the delay, or the first one again after ten quiet minutes (upstream's figures)."""
        if now - self.since > 2 * BACKOFF_MOST:
            return Backoff(BACKOFF_FIRST, now)
        return Backoff(min(BACKOFF_MOST, self.delay * 2), now)


@dataclass(frozen=True, slots=True)
class Resize:
    """Why a resize is not done: a condition of the pod, with its reason and message."""

    condition: str
    reason: str
    message: str


@dataclass(slots=True)
class Refusal:
    """Why the pod as a whole has ended or may not run: becomes phase Failed."""

    reason: str
    message: str
    grace: float | None = None
    """Seconds its containers have to end, when these are fewer than the pod's own."""
    disrupted: bool = False
    """True when the pod did nothing wrong but was in the way: condition DisruptionTarget says so."""


@dataclass(slots=True)
class PodState:
    """Everything this node knows of one pod."""

    uid: str
    namespace: str
    name: str
    pod: Pod | None = None
    """The pod as last seen from the API server (or kept on disk); None for one found only in the runtime."""
    deleted: bool = False
    """The API object is gone, or replaced by another of the same name."""
    static: bool = False
    """It comes from a file of this node."""
    mirror_uid: str = ""
    """The UID of the API object that shows a static pod, while there is one."""
    sandbox: SandboxState | None = None
    old_sandboxes: list[str] = field(default_factory=list)
    """Ids of sandboxes of earlier attempts that are still to be stopped and removed."""
    containers: dict[str, ContainerState] = field(default_factory=dict)
    """The newest attempt of each container."""
    previous: dict[str, ContainerState] = field(default_factory=dict)
    """The attempt before it, always exited."""
    images: dict[str, str] = field(default_factory=dict)
    """Container name to the local image id it is to run; absent while not yet resolved or pulled."""
    waiting: dict[str, Waiting] = field(default_factory=dict)
    """Failures to pull, configure or start a container, by its name."""
    announced: dict[str, float] = field(default_factory=dict)
    """The restarts that the BackOff event was recorded for, by container."""
    restarts: dict[str, Backoff] = field(default_factory=dict)
    pulls: dict[str, Backoff] = field(default_factory=dict)
    pulling: set[str] = field(default_factory=set)
    """Containers whose image is being pulled."""
    pull_progress: dict[str, str] = field(default_factory=dict)
    """How far a pull that takes its time is, by container."""
    sandbox_attempt: int = 0
    """The number the next sandbox gets; every try takes one, as the runtime holds the name of one that timed out."""
    sandbox_retry_at: float = 0.0
    sandbox_failures: int = 0
    sandbox_message: str = ""
    """Why the last try to make the sandbox failed; empty once it is there."""
    volumes_ready: bool = False
    volumes_retry_at: float = 0.0
    volumes_failures: int = 0
    volumes_message: str = ""
    asks: tuple[str, int] | None = None
    """Its service class and the thousandths of a CPU it asks for, once admitted."""
    resize: Resize | None = None
    resize_retry_at: float = 0.0
    refusal: Refusal | None = None
    ended: bool = False
    """The API showed the pod as Succeeded or Failed before this node began: its status is left as it is."""
    admitted: bool = False
    started_at: float = 0.0
    """When this node first saw the pod: `status.startTime`."""
    cleaned: bool = False
    """Sandbox, volumes, cgroup are gone: the API object may go."""
    cleanup_retry_at: float = 0.0
    cleanup_failures: int = 0
    torn_down: bool = False
    """The pod has ended and its sandbox is stopped and its volumes unmounted, though its object stays."""

    @property
    def key(self) -> str:
        return f"{self.namespace}/{self.name}"

    @property
    def api_uid(self) -> str:
        """The UID of the pod's object at the API; empty for a static pod that it does not show."""
        return self.mirror_uid if self.static else self.uid

    @property
    def sandbox_id(self) -> str:
        """The sandbox's id, empty when there is none that is ready."""
        return self.sandbox.id if self.sandbox is not None and self.sandbox.ready else ""

    @property
    def ip(self) -> str:
        """The pod's own address; empty for none yet and in the host's network."""
        return self.sandbox.ip if self.sandbox is not None and self.sandbox.ready else ""

    @property
    def ips(self) -> tuple[str, ...]:
        """All of the pod's own addresses, the first of which is `ip`."""
        return (self.ip, *self.sandbox.more_ips) if self.sandbox is not None and self.ip else ()

    @property
    def netns(self) -> str:
        return self.sandbox.netns if self.sandbox is not None and self.sandbox.ready else ""

    @property
    def host_network(self) -> bool:
        return bool(self.pod is not None and self.pod.spec.host_network)

    @property
    def any_running(self) -> bool:
        return any(container.running for container in self.containers.values())

    def container(self, name: str) -> ContainerState | None:
        return self.containers.get(name)

    def log_path(self, container: str, *, previous: bool = False) -> str:
        """The log file of the container's newest attempt, or of the one before; empty when there was none."""
        state = (self.previous if previous else self.containers).get(container)
        return state.log_path if state is not None else ""


class PodTable:
    """The pods of this node, by UID and by name."""

    def __init__(self) -> None:
        self._by_uid: dict[str, PodState] = {}
        self._by_name: dict[tuple[str, str], str] = {}
        self._owners: dict[str, str] = {}
        self.counts = Counts()

    def __len__(self) -> int:
        return len(self._by_uid)

    def __iter__(self) -> Iterator[PodState]:
        return iter(list(self._by_uid.values()))

    def get(self, namespace: str, name: str) -> PodState | None:
        """The pod of that name; of two (an old one still stopping), the newer."""
        uid = self._by_name.get((namespace, name))
        return self._by_uid.get(uid) if uid is not None else None

    def by_uid(self, uid: str) -> PodState | None:
        return self._by_uid.get(uid)

    def owner(self, runtime_id: str) -> PodState | None:
        """The pod that a container's or sandbox's id belongs to."""
        uid = self._owners.get(runtime_id)
        return self._by_uid.get(uid) if uid is not None else None

    def own(self, runtime_id: str, uid: str) -> None:
        """Notes that the runtime's object of that id is the pod's."""
        self._owners[runtime_id] = uid

    def disown(self, runtime_id: str) -> None:
        self._owners.pop(runtime_id, None)

    def add(self, state: PodState) -> None:
        self._by_uid[state.uid] = state
        current = self.get(state.namespace, state.name)
        if current is None or current.uid == state.uid or current.deleted or current.pod is None:
            self._by_name[(state.namespace, state.name)] = state.uid

    def claim_name(self, state: PodState) -> None:
        """Makes `state` the one its name stands for."""
        self._by_name[(state.namespace, state.name)] = state.uid

    def remove(self, uid: str) -> None:
        state = self._by_uid.pop(uid, None)
        self.counts.forget(uid)
        for runtime_id in [key for key, owner in self._owners.items() if owner == uid]:
            del self._owners[runtime_id]
        if state is not None and self._by_name.get((state.namespace, state.name)) == uid:
            del self._by_name[(state.namespace, state.name)]
