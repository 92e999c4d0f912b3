"""Ingress."""

from __future__ import annotations

from typing import ClassVar

from pilothouse.kinds.columns import AGE, NAME, NONE, Column, field
from pilothouse.kinds.kind import Kind
from pilothouse.kinds.problems import section
from pilothouse.kinds.view import Object
from pilothouse.machinery.objects import Obj, Resource


class Ingress(Object):
    resource: ClassVar[Resource] = Resource("networking.k8s.io", "v1", "Ingress", "ingresses", True)


_HOSTS_SHOWN = 3


def _hosts(obj: Obj) -> str:
    """The hosts of the rules, `*` for a rule of every host; three at most."""
    hosts = [rule.get("host") or "" for rule in section(obj, "spec").get("rules") or ()]
    named = [host for host in hosts if host]
    if not named:
        return "*"
    more = f" + {len(named) - _HOSTS_SHOWN} more..." if len(named) > _HOSTS_SHOWN else ""
    return ",".join(named[:_HOSTS_SHOWN]) + more


def _addresses(obj: Obj) -> str:
    entries = section(section(obj, "status"), "loadBalancer").get("ingress") or ()
    return ",".join(sorted({entry.get("ip") or entry.get("hostname") or "" for entry in entries} - {""}))


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
)
