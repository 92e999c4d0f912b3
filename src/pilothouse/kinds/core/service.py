"""Service."""

from __future__ import annotations

from typing import ClassVar

import msgspec

from pilothouse.kinds.columns import AGE, NAME, NONE, Column, field, pairs
from pilothouse.kinds.core.service_rules import carry_over, check_service, default_service
from pilothouse.kinds.kind import Kind
from pilothouse.kinds.problems import section
from pilothouse.kinds.view import Condition, Object, View
from pilothouse.machinery import names
from pilothouse.machinery.objects import Obj, Resource


class ServicePort(View):
    port: int = 0
    name: str = ""
    protocol: str = "TCP"
    target_port: int | str | None = None
    node_port: int = 0
    app_protocol: str | None = None


class ClientIPConfig(View):
    timeout_seconds: int | None = None


class SessionAffinityConfig(View):
    client_ip: ClientIPConfig | None = None


class ServiceSpec(View):
    type: str = "ClusterIP"
    selector: dict[str, str] = {}
    ports: list[ServicePort] = []
    cluster_ip: str = ""
    cluster_ips: list[str] = []
    ip_families: list[str] = []
    ip_family_policy: str | None = None
    external_ips: list[str] = []
    external_name: str = ""
    session_affinity: str = "None"
    session_affinity_config: SessionAffinityConfig | None = None
    internal_traffic_policy: str | None = None
    external_traffic_policy: str = ""
    traffic_distribution: str | None = None
    publish_not_ready_addresses: bool = False
    load_balancer_ip: str = ""
    load_balancer_class: str | None = None
    load_balancer_source_ranges: list[str] = []
    allocate_load_balancer_node_ports: bool | None = None
    health_check_node_port: int = 0


class LoadBalancerIngress(View):
    ip: str = ""
    hostname: str = ""


class LoadBalancerStatus(View):
    ingress: list[LoadBalancerIngress] = []


class ServiceStatus(View):
    load_balancer: LoadBalancerStatus = msgspec.field(default_factory=LoadBalancerStatus)
    conditions: list[Condition] = []


class Service(Object):
    resource: ClassVar[Resource] = Resource("", "v1", "Service", "services", True)

    spec: ServiceSpec = msgspec.field(default_factory=ServiceSpec)
    status: ServiceStatus = msgspec.field(default_factory=ServiceStatus)


def _external(obj: Obj) -> str:
    spec = section(obj, "spec")
    if spec.get("type") == "ExternalName":
        return spec.get("externalName") or NONE
    addresses = list(spec.get("externalIPs") or ())
    if spec.get("type") == "LoadBalancer":
        entries = section(section(obj, "status"), "loadBalancer").get("ingress") or ()
        addresses = [entry.get("ip") or entry.get("hostname") or "" for entry in entries] + addresses
        return ",".join(addresses) or "<pending>"
    return ",".join(addresses) or NONE


def _ports(obj: Obj) -> str:
    def text(port: Obj) -> str:
        node_port = f":{port['nodePort']}" if port.get("nodePort") else ""
        return f"{port.get('port')}{node_port}/{port.get('protocol', 'TCP')}"

    return ",".join(text(port) for port in section(obj, "spec").get("ports") or ()) or NONE


def _fields(obj: Obj) -> dict[str, str]:
    spec = section(obj, "spec")
    return {"spec.clusterIP": spec.get("clusterIP") or "", "spec.type": spec.get("type") or ""}


def _on_create(obj: Obj) -> None:
    """As upstream's structs are written: there is a load balancer's status, which says nothing yet."""
    obj["status"] = {"loadBalancer": {}}


KIND = Kind(
    view=Service,
    short_names=("svc",),
    categories=("all",),
    subresources=frozenset({"proxy", "status"}),
    columns=(
        NAME,
        Column("Type", field("spec", "type"), "How it is exposed."),
        Column("Cluster-IP", field("spec", "clusterIP", default=NONE), "Address inside the cluster."),
        Column("External-IP", _external, "Addresses from outside."),
        Column("Port(s)", _ports, "Ports, with the node port after a colon."),
        AGE,
        Column("Selector", lambda obj: pairs(section(obj, "spec").get("selector")), "Pods behind it.", priority=1),
    ),
    name_rule=names.dns1035_label,
    defaults=default_service,
    rules=check_service,
    on_create=_on_create,
    on_update=carry_over,
    fields=_fields,
    returns_deleted=True,
    create_on_update=True,
)
