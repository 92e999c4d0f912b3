"""Service."""

from __future__ import annotations

from typing import ClassVar

import msgspec

from pilothouse.kinds.view import Condition, Object, View
from pilothouse.machinery.objects import Resource


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
