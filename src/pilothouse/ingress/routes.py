"""Which request goes where, from Ingresses and Services: a plan without choices left. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from pilothouse.kinds.core.service import Service
from pilothouse.kinds.networking.ingress import Ingress, IngressBackend
from pilothouse.kinds.networking.ingress_class import IngressClass

CONTROLLER = "pilothouse.io/ingress"
"""The `spec.controller` of the IngressClasses served here."""
CLASS_ANNOTATION = "kubernetes.io/ingress.class"
REDIRECT = "ingress.pilothouse.io/ssl-redirect"
"""Annotation: "true" sends requests without TLS for the Ingress's TLS hosts to https."""


class Backend(NamedTuple):
    """A port of a Service. `h2c`: it speaks HTTP/2 without TLS."""

    namespace: str
    service: str
    address: str
    port: int
    h2c: bool = False


class Route(NamedTuple):
    """`exact`: the whole path; else the path and everything below it. No backend: answered with 503."""

    path: str
    exact: bool
    backend: Backend | None


class Certificate(NamedTuple):
    """A TLS Secret and the hosts it is for; no hosts: those of the certificate itself."""

    namespace: str
    secret: str
    hosts: tuple[str, ...]


@dataclass(slots=True)
class Site:
    """A host's routes, in the order in which they are tried; `default` takes what none of them does."""

    routes: list[Route] = field(default_factory=list)
    default: Backend | None = None
    redirect: bool = False


@dataclass(slots=True)
class Plan:
    """`sites` by host: names, wildcards (`*.example.org`), "" for every other host. `problems` by the Ingress's key."""

    sites: dict[str, Site] = field(default_factory=dict)
    certificates: list[Certificate] = field(default_factory=list)
    default: Backend | None = None
    served: list[str] = field(default_factory=list)
    problems: dict[str, list[str]] = field(default_factory=dict)


def ours(ingress: Ingress, classes: Mapping[str, IngressClass]) -> bool:
    """Whether an Ingress is of a class of ours."""
    name = ingress.spec.ingress_class_name or ingress.metadata.annotations.get(CLASS_ANNOTATION)
    found = classes.get(name) if name else None
    return found is not None and found.spec.controller == CONTROLLER


def plan(ingresses: Iterable[Ingress], classes: Iterable[IngressClass], services: Mapping[str, Service]) -> Plan:
    """The plan for these objects. Of two Ingresses that claim a path of a host, the older has it."""
    made = Plan()
    known = {found.name: found for found in classes}
    chosen = [ingress for ingress in ingresses if ours(ingress, known) and ingress.metadata.deletion_timestamp is None]
    taken: dict[tuple[str, str, bool], str] = {}
    for ingress in sorted(chosen, key=lambda found: (found.metadata.creation_timestamp or "", found.key)):
        made.served.append(ingress.key)
        _add(made, ingress, services, taken)
    for site in made.sites.values():
        # Source: the Ingress API: the longest path first, and exact before prefix where equally long.
        site.routes.sort(key=lambda route: (-len(route.path), not route.exact, route.path))
    return made


def _add(
    made: Plan, ingress: Ingress, services: Mapping[str, Service], taken: dict[tuple[str, str, bool], str]
) -> None:
    problems: list[str] = []
    default = ingress.spec.default_backend
    fallback = _backend(default, ingress.namespace, services, problems) if default is not None else None
    secured = {host for tls in ingress.spec.tls for host in tls.hosts}
    redirect = ingress.metadata.annotations.get(REDIRECT) == "true"
    for rule in ingress.spec.rules:
        host = rule.host.lower()
        site = made.sites.setdefault(host, Site())
        site.default = site.default or fallback
        site.redirect = site.redirect or (redirect and host in secured)
        for entry in rule.http.paths if rule.http is not None else ():
            exact = entry.path_type == "Exact"
            path = entry.path or "/"
            path = path if exact or path == "/" else path.rstrip("/")
            other = taken.setdefault((host, path, exact), ingress.key)
            if other != ingress.key:
                problems.append(f"path {path} of host {host or '*'} already belongs to ingress {other}")
                continue
            site.routes.append(Route(path, exact, _backend(entry.backend, ingress.namespace, services, problems)))
    if fallback is not None and not ingress.spec.rules:
        made.default = made.default or fallback
    for tls in ingress.spec.tls:
        if tls.secret_name:
            hosts = tuple(host.lower() for host in tls.hosts)
            made.certificates.append(Certificate(ingress.namespace, tls.secret_name, hosts))
        else:
            problems.append(f"tls for {', '.join(tls.hosts) or '*'} names no secret")
    if problems:
        made.problems[ingress.key] = problems


def _backend(
    backend: IngressBackend, namespace: str, services: Mapping[str, Service], problems: list[str]
) -> Backend | None:
    wanted = backend.service
    if wanted is None:
        problems.append("only services are served")
        return None
    try:
        return service_backend(services, namespace, wanted.name, wanted.port.name or wanted.port.number)
    except LookupError as error:
        problems.append(str(error.args[0]))
        return None


def service_backend(services: Mapping[str, Service], namespace: str, name: str, wanted: str | int) -> Backend:
    """The port of a service, by its name or number. Raises LookupError, whose argument says what is missing."""
    service = services.get(f"{namespace}/{name}")
    if service is None:
        raise LookupError(f'service "{name}" not found')
    port = next((p for p in service.spec.ports if wanted == (p.name if isinstance(wanted, str) else p.port)), None)
    if port is None:
        raise LookupError(f'service "{name}" has no port {wanted}')
    if service.spec.cluster_ip in ("", "None"):
        raise LookupError(f'service "{name}" has no cluster address: give it one (type ClusterIP)')
    h2c = port.app_protocol in ("kubernetes.io/h2c", "h2c", "grpc")
    return Backend(namespace, name, service.spec.cluster_ip, port.port, h2c)


def claims(services: Sequence[Service], address: str) -> dict[int, str]:
    """The TCP ports of an address that belong to load balancers, and whose they are."""
    return {
        port.port: service.key
        for service in services
        if address in (*(entry.ip for entry in service.status.load_balancer.ingress), *service.spec.external_ips)
        for port in service.spec.ports
        if port.protocol == "TCP"
    }
