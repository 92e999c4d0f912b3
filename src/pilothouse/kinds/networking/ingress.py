"""Ingress."""

from __future__ import annotations

from typing import ClassVar

import msgspec

from pilothouse.kinds.columns import AGE, NAME, NONE, Column, field
from pilothouse.kinds.kind import Kind
from pilothouse.kinds.networking.ingress_rules import check_ingress
from pilothouse.kinds.problems import section
from pilothouse.kinds.view import Object, View
from pilothouse.machinery.objects import Obj, Resource


class ServiceBackendPort(View):
    name: str = ""
    number: int = 0


class IngressServiceBackend(View):
    name: str = ""
    port: ServiceBackendPort = msgspec.field(default_factory=ServiceBackendPort)


class IngressBackend(View):
    service: IngressServiceBackend | None = None


class HTTPIngressPath(View):
    path: str = ""
    path_type: str = ""
    backend: IngressBackend = msgspec.field(default_factory=IngressBackend)


class HTTPIngressRuleValue(View):
    paths: list[HTTPIngressPath] = []


class IngressRule(View):
    host: str = ""
    http: HTTPIngressRuleValue | None = None


class IngressTLS(View):
    hosts: list[str] = []
    secret_name: str = ""


class IngressSpec(View):
    ingress_class_name: str | None = None
    default_backend: IngressBackend | None = None
    rules: list[IngressRule] = []
    tls: list[IngressTLS] = []


class IngressLoadBalancerIngress(View):
    ip: str = ""


class IngressLoadBalancerStatus(View):
    ingress: list[IngressLoadBalancerIngress] = []


class IngressStatus(View):
    load_balancer: IngressLoadBalancerStatus = msgspec.field(default_factory=IngressLoadBalancerStatus)


class Ingress(Object):
    resource: ClassVar[Resource] = Resource("networking.k8s.io", "v1", "Ingress", "ingresses", True)

    spec: IngressSpec = msgspec.field(default_factory=IngressSpec)
    status: IngressStatus = msgspec.field(default_factory=IngressStatus)


_HOSTS_SHOWN = 3


def _hosts(obj: Obj) -> str:
    """The hosts of the rules, `*` for a rule of every host; three at most."""
    hosts = [rule.get("host") or "" for rule in section(obj, "spec").get("rules") or ()]
    named = [host for host in hosts if host]
    if not named:
        return "*"
    # Counted are rules, with a host or without, as upstream counts them.
    last = next((at for at, host in enumerate(hosts) if sum(map(bool, hosts[: at + 1])) == _HOSTS_SHOWN), len(hosts))
    more = f" + {len(hosts) - _HOSTS_SHOWN} more..." if len(hosts) > last + 1 else ""
    return ",".join(named[:_HOSTS_SHOWN]) + more


def _addresses(obj: Obj) -> str:
    entries = section(section(obj, "status"), "loadBalancer").get("ingress") or ()
    return ",".join(sorted({entry.get("ip") or entry.get("hostname") or "" for entry in entries} - {""}))


def _on_create(obj: Obj) -> None:
    """As upstream's structs are written: there is a load balancer's status, which says nothing yet."""
    obj["status"] = {"loadBalancer": {}}


KIND = Kind(
    view=Ingress,
    short_names=("ing",),
    subresources=frozenset({"status"}),
    columns=(
        NAME,
        Column("Class", field("spec", "ingressClassName", default=NONE), "Its IngressClass."),
        Column("Hosts", _hosts, "Hosts whose requests it routes."),
        Column("Address", _addresses, "Where it is reached."),
        Column("Ports", lambda obj: "80, 443" if section(obj, "spec").get("tls") else "80", "Ports it is reached at."),
        AGE,
    ),
    generation_fields=("spec",),
    rules=check_ingress,
    on_create=_on_create,
)
