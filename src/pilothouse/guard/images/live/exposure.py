"""How exposed a container is: by what ways it is reached, and what an intruder in it would hold. Pure."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Final, NamedTuple

from pilothouse.kinds.core.container import Container
from pilothouse.kinds.core.pod import Pod
from pilothouse.kinds.core.service import Service
from pilothouse.kinds.networking.ingress import Ingress, IngressBackend

_INSIDE, _OUTSIDE = 1, 2

RightsOf = Callable[[str, str], Sequence[str]]
"""How far the rights of a service account (namespace, name) reach, in words."""


class Exposure(NamedTuple):
    """`ways` in words. `level` orders: twice how far away it is reached from (2 outside the cluster, 1 inside), and
    one more with privileges or far-reaching rights: 0 to 5."""

    ways: tuple[str, ...] = ()
    level: int = 0


UNEXPOSED: Final = Exposure()


def routes(ingresses: Iterable[Ingress]) -> dict[str, list[str]]:
    """Ingresses by the Service they lead to, in one namespace and in words."""
    found: dict[str, list[str]] = {}
    for ingress in ingresses:
        for service in sorted({backend.service.name for backend in _backends(ingress) if backend.service}):
            found.setdefault(service, []).append(f"Ingress {ingress.metadata.name}")
    return found


def _backends(ingress: Ingress) -> Iterator[IngressBackend]:
    if ingress.spec.default_backend is not None:
        yield ingress.spec.default_backend
    for rule in ingress.spec.rules:
        for path in rule.http.paths if rule.http else ():
            yield path.backend


def exposure_of(
    pod: Pod, container: Container, services: Iterable[Service], routed: Mapping[str, Sequence[str]], rights: RightsOf
) -> Exposure:
    """Of one container; `services` and `routed` (what leads to them from outside) are those of its namespace."""
    reached = sorted(_ways(pod, container, services, routed))
    power = [*_privileges(pod, container), *_rights(pod, rights)]
    farthest = max((distance for _, distance in reached), default=0)
    return Exposure((*dict.fromkeys(way for way, _ in reached), *power), 2 * farthest + bool(power))


def _ways(
    pod: Pod, container: Container, services: Iterable[Service], routed: Mapping[str, Sequence[str]]
) -> Iterator[tuple[str, int]]:
    labels = pod.metadata.labels
    for service in services:
        selector, name = service.spec.selector, service.metadata.name
        if not selector or any(labels.get(key) != value for key, value in selector.items()):
            continue
        outside = service.spec.type in ("NodePort", "LoadBalancer") or bool(service.spec.external_ips)
        kind = service.spec.type if service.spec.type != "ClusterIP" else "external IPs"
        yield (f"Service {name} ({kind})", _OUTSIDE) if outside else (f"Service {name}", _INSIDE)
        for way in routed.get(name, ()):
            yield way, _OUTSIDE
    for port in container.ports:
        if port.host_port:
            yield f"host port {port.host_port}", _OUTSIDE
    if pod.spec.host_network:
        yield "host network", _OUTSIDE


def _privileges(pod: Pod, container: Container) -> Iterator[str]:
    if container.security_context is not None and container.security_context.privileged:
        yield "privileged"
    if pod.spec.host_pid:
        yield "host PID"


def _rights(pod: Pod, rights: RightsOf) -> Iterator[str]:
    """Only where the account's token is in the pod."""
    sources = (source for volume in pod.spec.volumes if volume.projected for source in volume.projected.sources)
    if any(source.service_account_token is not None for source in sources):
        name = pod.spec.service_account_name or "default"
        for reach in rights(pod.metadata.namespace, name):
            yield f"ServiceAccount {name} {reach}"
