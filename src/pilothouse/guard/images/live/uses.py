"""Which containers run which image, who they belong to, and how exposed they are. Pure."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field

from pilothouse.guard.finding import Ref
from pilothouse.kinds.core.container import Container
from pilothouse.kinds.core.pod import Pod
from pilothouse.kinds.core.pod_status import ContainerStatus
from pilothouse.kinds.core.service import Service
from pilothouse.kinds.view import OwnerReference

_ENDED = ("Succeeded", "Failed")
_HIGHEST = 3

Owner = Callable[[str, OwnerReference], OwnerReference | None]
"""Who controls the object that a reference names, in a namespace; None when nobody does."""


@dataclass(frozen=True, slots=True)
class Running:
    """One container of one pod, and the image it runs ("" while that is not known)."""

    pod: str
    namespace: str
    node: str
    container: str
    image: str
    image_id: str
    """The runtime's name of it."""
    owner: Ref
    exposure: tuple[str, ...] = ()


@dataclass(slots=True)
class Use:
    """One container of a workload, with the images its pods run."""

    owner: Ref
    container: str
    pods: dict[str, list[str]] = field(default_factory=dict)
    """Names of pods by image."""
    exposure: tuple[str, ...] = ()

    @property
    def subject(self) -> str:
        """What findings of it are kept under."""
        return f"{self.owner}/{self.container}"


def running(pods: Iterable[Pod], services: Iterable[Service], owner: Owner) -> Iterator[Running]:
    """Every container that runs or may run again."""
    by_namespace: dict[str, list[Service]] = {}
    for service in services:
        if service.spec.selector:
            by_namespace.setdefault(service.metadata.namespace, []).append(service)
    for pod in pods:
        if pod.status.phase in _ENDED or pod.metadata.deletion_timestamp:
            continue
        top = _top(pod, owner)
        ways = _ways(pod, by_namespace.get(pod.metadata.namespace, []))
        for container, status in _containers(pod):
            exposure = (*ways, *_privileges(pod, container))
            yield Running(
                pod.metadata.name,
                pod.metadata.namespace,
                pod.spec.node_name or "",
                container.name,
                image_key(status.image_id) if status else "",
                status.image_id if status else "",
                top,
                exposure,
            )


def image_key(image_id: str) -> str:
    """The part of a container's imageID that says which image it is: its digest."""
    return image_id.rpartition("@")[2]


def uses(containers: Iterable[Running]) -> dict[str, Use]:
    """Containers of one workload together, by subject."""
    found: dict[str, Use] = {}
    for entry in containers:
        use = Use(entry.owner, entry.container)
        use = found.setdefault(use.subject, use)
        use.exposure = use.exposure or entry.exposure
        if entry.image:
            use.pods.setdefault(entry.image, []).append(entry.pod)
    return found


def _containers(pod: Pod) -> Iterator[tuple[Container, ContainerStatus | None]]:
    status = pod.status
    named = {
        entry.name: entry
        for entry in (*status.container_statuses, *status.init_container_statuses, *status.ephemeral_container_statuses)
    }
    for container in (*pod.spec.containers, *pod.spec.init_containers):
        found = named.get(container.name)
        ended = found is not None and found.state is not None and found.state.terminated is not None
        if not (ended and container in pod.spec.init_containers):
            yield container, found


def _top(pod: Pod, owner: Owner) -> Ref:
    """The workload at the top: a Deployment rather than its ReplicaSet."""
    reference = pod.controller()
    if reference is None:
        return Ref("v1", "Pod", pod.metadata.namespace, pod.metadata.name)
    for _ in range(_HIGHEST):
        above = owner(pod.metadata.namespace, reference)
        if above is None:
            break
        reference = above
    if reference.kind == "Node":
        return Ref("v1", "Pod", pod.metadata.namespace, pod.metadata.name)
    return Ref(reference.api_version, reference.kind, pod.metadata.namespace, reference.name)


def _ways(pod: Pod, services: list[Service]) -> tuple[str, ...]:
    labels = pod.metadata.labels
    found = []
    for service in services:
        if all(labels.get(key) == value for key, value in service.spec.selector.items()):
            outside = service.spec.type in ("NodePort", "LoadBalancer") or bool(service.spec.external_ips)
            found.append(f"Service {service.metadata.name}" + (f" ({service.spec.type})" if outside else ""))
    return tuple(sorted(found))


def _privileges(pod: Pod, container: Container) -> tuple[str, ...]:
    found = []
    if container.security_context is not None and container.security_context.privileged:
        found.append("privileged")
    for flag, name in ((pod.spec.host_network, "host network"), (pod.spec.host_pid, "host PID")):
        if flag:
            found.append(name)
    return tuple(found)
