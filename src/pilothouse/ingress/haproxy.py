"""HAProxy's configuration as text, from a plan. Pure.

A backend is the Service's cluster address: endpoints come and go without a reload, and the node's rules spread the
connections. What is written was validated by the API; what could break out of a line is refused here again.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from pilothouse.ingress.gateway.config import backends, choosing
from pilothouse.ingress.gateway.plan import GatewayPlan
from pilothouse.ingress.routes import Backend, Plan, Route, Site
from pilothouse.kinds.families import join_host_port

HTTP, HTTPS = 80, 443
_PLAIN = re.compile(r"[!$%&()*+,\-./0-9:;<=>?@A-Z\[\]^_`a-z|~]+")
_HEAD = """\
# Written by Pilothouse from Ingresses; changes are lost.
global
  user haproxy
  group haproxy
  hard-stop-after 10m
  stats socket {directory}/admin.sock mode 600 level admin expose-fd listeners
  ssl-default-bind-options ssl-min-ver TLSv1.2
  tune.ssl.default-dh-param 2048
  log stderr format raw local0 notice

defaults
  mode http
  log global
  option forwardfor
  option redispatch
  option http-ignore-probes
  option idle-close-on-response
  http-reuse safe
  retries 3
  retry-on conn-failure empty-response
  timeout connect 5s
  timeout client 60s
  timeout server 60s
  timeout http-request 10s
  timeout http-keep-alive 60s
  timeout queue 30s
  timeout tunnel 1h
"""


@dataclass(frozen=True, slots=True)
class Pair:
    """A certificate's file, and the hosts it is for."""

    path: str
    hosts: tuple[str, ...]


def config(plan: Plan, address: str, directory: str, pairs: Sequence[Pair], gateways: GatewayPlan | None = None) -> str:
    """The whole configuration; TLS is listened for while there is a certificate.

    What Gateways say of a port goes before what Ingresses say of theirs.
    """
    gateways = gateways or GatewayPlan()
    lines = [
        _HEAD.format(directory=directory),
        "frontend web",
        *(
            f"  bind {join_host_port(address, port)}{_secure(port, directory) if tls else ''}"
            for port, tls in ports(plan, pairs, gateways)
        ),
        "  http-request set-header X-Forwarded-Proto http if !{ ssl_fc }",
        "  http-request set-header X-Forwarded-Proto https if { ssl_fc }",
        "  http-request disable-l7-retry unless { method GET HEAD OPTIONS PUT DELETE }",
        "  http-request set-var(txn.host) req.hdr(host),field(1,:),lower",
    ]
    hosts = sorted(plan.sites, key=lambda host: (host == "", host.startswith("*."), -len(host), host))
    names = {host: f"host_{number}" for number, host in enumerate(hosts)}
    for host in hosts:
        if host:
            lines.append(f"  acl {names[host]} var(txn.host) -m {_host_pattern(host)}")
    # A Gateway's other ports are none of an Ingress's business.
    here = f" {{ dst_port {HTTP} {HTTPS} }}" if gateways.ports else ""
    lines += [
        f"  http-request redirect scheme https code 308 if {names[host]} !{{ ssl_fc }}{here}"
        for host in hosts
        if host and plan.sites[host].redirect and pairs
    ]
    lines += choosing(gateways)
    for host in hosts:
        lines += [line + here for line in _site(plan, plan.sites[host], names[host] if host else "")]
    lines.append(f"  default_backend {_backend_name(plan.default) if plan.default else 'none'}")
    lines += ["", *_backends(plan), *backends(gateways)]
    return "\n".join(lines) + "\n"


def ports(plan: Plan, pairs: Sequence[Pair], gateways: GatewayPlan) -> list[tuple[int, bool]]:
    """The ports that are listened at, each with whether TLS ends there."""
    found = dict(gateways.ports)
    if plan.served:
        found |= {HTTP: False, **({HTTPS: True} if pairs else {})}
    return sorted(found.items())


def certificate_file(port: int) -> str:
    """The name of the list of certificates for a port."""
    return "certificates" if port == HTTPS else f"certificates_{port}"


def _secure(port: int, directory: str) -> str:
    return f" ssl crt-list {directory}/{certificate_file(port)} alpn h2,http/1.1"


def certificate_list(pairs: Iterable[Pair]) -> str:
    """The file that tells which certificate is for which hosts; the first serves clients that name none."""
    return "".join(f"{pair.path} {' '.join(pair.hosts)}".rstrip() + "\n" for pair in pairs)


def _site(plan: Plan, site: Site, acl: str) -> list[str]:
    lines = []
    for route in site.routes:
        name = _backend_name(route.backend) if route.backend else "unavailable"
        lines += [f"  use_backend {name} if {condition}".rstrip() for condition in _conditions(route, acl)]
    default = site.default or plan.default
    if acl:
        lines.append(f"  use_backend {_backend_name(default) if default else 'none'} if {acl}")
    return lines


def _conditions(route: Route, acl: str) -> list[str]:
    if not _PLAIN.fullmatch(route.path):
        return []
    before = f"{acl} " if acl else ""
    if route.exact:
        return [f"{before}{{ path -m str {route.path} }}"]
    if route.path == "/":
        return [f"{before}{{ path -m beg / }}"]
    return [f"{before}{{ path -m str {route.path} }}", f"{before}{{ path -m beg {route.path}/ }}"]


def _host_pattern(host: str) -> str:
    if host.startswith("*."):
        return "reg ^[^.]+" + host[1:].replace(".", "[.]") + "$"
    return f"str {host}"


def _backend_name(backend: Backend) -> str:
    return f"{backend.namespace}_{backend.service}_{backend.port}"


def _backends(plan: Plan) -> list[str]:
    found = {backend for site in plan.sites.values() for route in site.routes if (backend := route.backend) is not None}
    found |= {site.default for site in plan.sites.values() if site.default is not None}
    if plan.default is not None:
        found.add(plan.default)
    lines = [
        "backend none",
        '  http-request return status 404 content-type text/plain string "no ingress has this host and path"',
        "backend unavailable",
        '  http-request return status 503 content-type text/plain string "the service of this path cannot be reached"',
    ]
    for backend in sorted(found):
        protocol = " proto h2" if backend.h2c else ""
        lines += [
            f"backend {_backend_name(backend)}",
            f"  server service {join_host_port(backend.address, backend.port)}{protocol}",
        ]
    return lines
