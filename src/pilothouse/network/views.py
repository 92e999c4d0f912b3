"""Views of pods and nodes with only the fields the network reads, so that thousands cost little."""

from __future__ import annotations

from typing import ClassVar

import msgspec

from pilothouse.kinds.core.container import ContainerPort
from pilothouse.kinds.core.node import NodeAddress, NodeSpec
from pilothouse.kinds.core.pod_status import PodIP
from pilothouse.kinds.view import Object, View
from pilothouse.machinery.objects import Resource


class ContainerView(View):
    ports: list[ContainerPort] = []


class PodSpecView(View):
    node_name: str = ""
    host_network: bool = False
    containers: list[ContainerView] = []
    init_containers: list[ContainerView] = []


class PodStatusView(View):
    phase: str = ""
    pod_ip: str = ""
    pod_ips: list[PodIP] = []


class PodView(Object):
    resource: ClassVar[Resource] = Resource("", "v1", "Pod", "pods", True)

    spec: PodSpecView = msgspec.field(default_factory=PodSpecView)
    status: PodStatusView = msgspec.field(default_factory=PodStatusView)


class NodeStatusView(View):
    addresses: list[NodeAddress] = []


class NodeView(Object):
    resource: ClassVar[Resource] = Resource("", "v1", "Node", "nodes", False)

    spec: NodeSpec = msgspec.field(default_factory=NodeSpec)
    status: NodeStatusView = msgspec.field(default_factory=NodeStatusView)
