"""Which containers run which image, who they belong to, and how exposed they are. Pure."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TypeVar

from pilothouse.guard.finding import Ref
from pilothouse.guard.images.live.exposure import UNEXPOSED, Exposure, RightsOf, exposure_of, routes
from pilothouse.kinds.core.container import Container
from pilothouse.kinds.core.pod import Pod
from pilothouse.kinds.core.pod_status import ContainerStatus
from pilothouse.kinds.core.service import Service
from pilothouse.kinds.networking.ingress import Ingress
from pilothouse.kinds.view import Object, OwnerReference

_ENDED = ("Succeeded", "Failed")
_HIGHEST = 3

T = TypeVar("T", bound=Object)

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
    exposure: Exposure = UNEXPOSED


@dataclass(slots=True)
class Use:
    """One container of a workload, with the images its pods run."""

    owner: Ref
    container: str
    pods: dict[str, list[str]] = field(default_factory=dict)
    """Names of pods by image."""
    exposure: Exposure = UNEXPOSED
    """Of the pod that is most exposed."""

    @property
    def subject(self) -> str:
        """What findings of it are kept under."""
        return f"{self.owner}/{self.container}"


def nobodys(namespace: str, name: str) -> tuple[str, ...]:
    """No account has rights that reach far."""
    return ()


def running(
    pods: Iterable[Pod],
    services: Iterable[Service],
    owner: Owner,
    ingresses: Iterable[Ingress] = (),
    rights: RightsOf = nobodys,
    others: Mapping[str, Mapping[str, Sequence[str]]] | None = None,
) -> Iterator[Running]:
    """Every container that runs or may run again; `others` leads to Services by namespace, beside Ingresses."""
    services_of = _by_namespace(services)
    routed: dict[str, dict[str, list[str]]] = {}
    for namespace, found in _by_namespace(ingresses).items():
        routed[namespace] = routes(found)
    for namespace, leading in (others or {}).items():
        for service, ways in leading.items():
            routed.setdefault(namespace, {}).setdefault(service, []).extend(ways)
    for pod in pods:
        if pod.status.phase in _ENDED or pod.metadata.deletion_timestamp:
            continue
        top = _top(pod, owner)
        namespace = pod.metadata.namespace
        for container, status in _containers(pod):
            yield Running(
                pod.metadata.name,
                namespace,
                pod.spec.node_name or "",
                container.name,
                image_key(status.image_id) if status else "",
                status.image_id if status else "",
                top,
                exposure_of(pod, container, services_of.get(namespace, ()), routed.get(namespace, {}), rights),
            )


def _by_namespace(objects: Iterable[T]) -> dict[str, list[T]]:
    found: dict[str, list[T]] = {}
    for obj in objects:
        found.setdefault(obj.metadata.namespace, []).append(obj)
    return found


def image_key(image_id: str) -> str:
    """The part of a container's imageID that says which image it is: its digest."""
    return image_id.rpartition("@")[2]


def uses(containers: Iterable[Running]) -> dict[str, Use]:
    """Containers of one workload together, by subject."""
    found: dict[str, Use] = {}
    for entry in containers:
        use = Use(entry.owner, entry.container)
        use = found.setdefault(use.subject, use)
        use.exposure = max(use.exposure, entry.exposure, key=lambda exposure: exposure.level)
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
