"""NetworkPolicy."""

from __future__ import annotations

from typing import ClassVar

import msgspec

from pilothouse.kinds.view import LabelSelector, Object, View
from pilothouse.machinery.objects import Resource


class IPBlock(View):
    cidr: str = ""
    except_: list[str] = []


class NetworkPolicyPeer(View):
    pod_selector: LabelSelector | None = None
    namespace_selector: LabelSelector | None = None
    ip_block: IPBlock | None = None


class NetworkPolicyPort(View):
    """No port means all ports; a name is a container port's name; `end_port` makes a range."""

    protocol: str | None = None
    port: int | str | None = None
    end_port: int | None = None


class NetworkPolicyIngressRule(View):
    ports: list[NetworkPolicyPort] = []
    from_: list[NetworkPolicyPeer] = []


class NetworkPolicyEgressRule(View):
    ports: list[NetworkPolicyPort] = []
    to: list[NetworkPolicyPeer] = []


class NetworkPolicySpec(View):
    pod_selector: LabelSelector = msgspec.field(default_factory=LabelSelector)
    policy_types: list[str] = []
    ingress: list[NetworkPolicyIngressRule] = []
    egress: list[NetworkPolicyEgressRule] = []


class NetworkPolicy(Object):
    resource: ClassVar[Resource] = Resource("networking.k8s.io", "v1", "NetworkPolicy", "networkpolicies", True)

    spec: NetworkPolicySpec = msgspec.field(default_factory=NetworkPolicySpec)
