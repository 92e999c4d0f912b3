"""EndpointSlice."""

from __future__ import annotations

from typing import ClassVar

import msgspec

from pilothouse.kinds.core.object_reference import ObjectReference
from pilothouse.kinds.view import Object, View
from pilothouse.machinery.objects import Resource


class EndpointConditions(View):
    """None means unknown; readers take unknown `ready` and `serving` as true, unknown `terminating` as false."""

    ready: bool | None = None
    serving: bool | None = None
    terminating: bool | None = None


class ForZone(View):
    name: str = ""


class ForNode(View):
    name: str = ""


class EndpointHints(View):
    for_zones: list[ForZone] = []
    for_nodes: list[ForNode] = []


class Endpoint(View):
    addresses: list[str] = []
    conditions: EndpointConditions = msgspec.field(default_factory=EndpointConditions)
    hostname: str | None = None
    target_ref: ObjectReference | None = None
    node_name: str | None = None
    zone: str | None = None
    hints: EndpointHints | None = None


class EndpointPort(View):
    """A port None means all ports."""

    name: str | None = None
    protocol: str | None = None
    port: int | None = None
    app_protocol: str | None = None


class EndpointSlice(Object):
    resource: ClassVar[Resource] = Resource("discovery.k8s.io", "v1", "EndpointSlice", "endpointslices", True)

    address_type: str = ""
    endpoints: list[Endpoint] = []
    ports: list[EndpointPort] = []
