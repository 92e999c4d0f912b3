"""What is read of the Gateway API's objects. Source: gateway.networking.k8s.io, v1 and (ReferenceGrant) v1beta1."""

from __future__ import annotations

from typing import ClassVar

import msgspec

from pilothouse.kinds.view import Condition, LabelSelector, Object, View
from pilothouse.machinery.objects import Resource

GROUP = "gateway.networking.k8s.io"


class GatewayClassSpec(View):
    controller_name: str = ""


class Status(View):
    conditions: list[Condition] = []


class GatewayClass(Object):
    resource: ClassVar[Resource] = Resource(GROUP, "v1", "GatewayClass", "gatewayclasses", False)

    spec: GatewayClassSpec = msgspec.field(default_factory=GatewayClassSpec)
    status: Status = msgspec.field(default_factory=Status)


class SecretReference(View):
    group: str = ""
    kind: str = "Secret"
    name: str = ""
    namespace: str | None = None


class ListenerTLS(View):
    mode: str = "Terminate"
    certificate_refs: list[SecretReference] = []


class RouteNamespaces(View):
    from_: str = msgspec.field(default="Same", name="from")
    selector: LabelSelector | None = None


class RouteKind(View):
    group: str = GROUP
    kind: str = ""


class AllowedRoutes(View):
    namespaces: RouteNamespaces = msgspec.field(default_factory=RouteNamespaces)
    kinds: list[RouteKind] = []


class Listener(View):
    name: str = ""
    hostname: str = ""
    port: int = 0
    protocol: str = ""
    tls: ListenerTLS | None = None
    allowed_routes: AllowedRoutes = msgspec.field(default_factory=AllowedRoutes)


class GatewayAddress(View):
    type: str = "IPAddress"
    value: str = ""


class GatewaySpec(View):
    gateway_class_name: str = ""
    listeners: list[Listener] = []
    addresses: list[GatewayAddress] = []


class ListenerStatus(View):
    name: str = ""
    attached_routes: int = 0
    conditions: list[Condition] = []


class GatewayStatus(View):
    conditions: list[Condition] = []
    listeners: list[ListenerStatus] = []
    addresses: list[GatewayAddress] = []


class Gateway(Object):
    resource: ClassVar[Resource] = Resource(GROUP, "v1", "Gateway", "gateways", True)

    spec: GatewaySpec = msgspec.field(default_factory=GatewaySpec)
    status: GatewayStatus = msgspec.field(default_factory=GatewayStatus)


class ParentReference(View):
    group: str = GROUP
    kind: str = "Gateway"
    namespace: str | None = None
    name: str = ""
    section_name: str | None = None
    port: int | None = None


class PathMatch(View):
    type: str = "PathPrefix"
    value: str = "/"


class ValueMatch(View):
    """A header or a query parameter."""

    type: str = "Exact"
    name: str = ""
    value: str = ""


class HTTPRouteMatch(View):
    path: PathMatch = msgspec.field(default_factory=PathMatch)
    headers: list[ValueMatch] = []
    query_params: list[ValueMatch] = []
    method: str = ""


class Header(View):
    name: str = ""
    value: str = ""


class HeaderModifier(View):
    set: list[Header] = []
    add: list[Header] = []
    remove: list[str] = []


class PathModifier(View):
    type: str = ""
    replace_full_path: str | None = None
    replace_prefix_match: str | None = None


class RequestRedirect(View):
    scheme: str | None = None
    hostname: str | None = None
    path: PathModifier | None = None
    port: int | None = None
    status_code: int = 302


class URLRewrite(View):
    hostname: str | None = None
    path: PathModifier | None = None


class HTTPRouteFilter(View):
    type: str = ""
    request_header_modifier: HeaderModifier | None = None
    response_header_modifier: HeaderModifier | None = None
    request_redirect: RequestRedirect | None = None
    url_rewrite: URLRewrite | None = None


class BackendReference(View):
    group: str = ""
    kind: str = "Service"
    name: str = ""
    namespace: str | None = None
    port: int | None = None
    weight: int = 1
    filters: list[HTTPRouteFilter] = []


class Timeouts(View):
    request: str | None = None
    backend_request: str | None = None


class HTTPRouteRule(View):
    matches: list[HTTPRouteMatch] = []
    filters: list[HTTPRouteFilter] = []
    backend_refs: list[BackendReference] = []
    timeouts: Timeouts | None = None


class HTTPRouteSpec(View):
    parent_refs: list[ParentReference] = []
    hostnames: list[str] = []
    rules: list[HTTPRouteRule] = []


class ParentStatus(View):
    parent_ref: ParentReference = msgspec.field(default_factory=ParentReference)
    controller_name: str = ""
    conditions: list[Condition] = []


class HTTPRouteStatus(View):
    parents: list[ParentStatus] = []


class HTTPRoute(Object):
    resource: ClassVar[Resource] = Resource(GROUP, "v1", "HTTPRoute", "httproutes", True)

    spec: HTTPRouteSpec = msgspec.field(default_factory=HTTPRouteSpec)
    status: HTTPRouteStatus = msgspec.field(default_factory=HTTPRouteStatus)


class GrantFrom(View):
    group: str = ""
    kind: str = ""
    namespace: str = ""


class GrantTo(View):
    group: str = ""
    kind: str = ""
    name: str | None = None


class ReferenceGrantSpec(View):
    from_: list[GrantFrom] = msgspec.field(default_factory=list, name="from")
    to: list[GrantTo] = []


class ReferenceGrant(Object):
    resource: ClassVar[Resource] = Resource(GROUP, "v1beta1", "ReferenceGrant", "referencegrants", True)

    spec: ReferenceGrantSpec = msgspec.field(default_factory=ReferenceGrantSpec)


KINDS: tuple[type[Object], ...] = (GatewayClass, Gateway, HTTPRoute, ReferenceGrant)
