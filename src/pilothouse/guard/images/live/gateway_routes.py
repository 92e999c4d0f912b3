"""Which Services the Gateway API leads to: routes that some gateway accepts, watched once their kinds are defined.

Source: gateway.networking.k8s.io/v1; a route is accepted by a parent that says so in its status.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any, ClassVar, Final

import msgspec

from pilothouse.client.informer import Informer
from pilothouse.client.shared import SharedInformers
from pilothouse.kinds.apiextensions.definition import CustomResourceDefinition
from pilothouse.kinds.view import Condition, Object, View
from pilothouse.machinery.objects import Resource

_GROUP: Final = "gateway.networking.k8s.io"


class BackendReference(View):
    group: str = ""
    kind: str = "Service"
    name: str = ""
    namespace: str | None = None


class RouteRule(View):
    backend_refs: list[BackendReference] = []


class RouteSpec(View):
    rules: list[RouteRule] = []


class RouteParentStatus(View):
    conditions: list[Condition] = []


class RouteStatus(View):
    parents: list[RouteParentStatus] = []


class Route(Object):
    """What routes of every kind have in common."""

    spec: RouteSpec = msgspec.field(default_factory=RouteSpec)
    status: RouteStatus = msgspec.field(default_factory=RouteStatus)

    def services(self) -> set[tuple[str, str]]:
        """Services (namespace, name) it leads to; none while no gateway accepts it."""
        accepted = any(
            condition.type == "Accepted" and condition.status == "True"
            for parent in self.status.parents
            for condition in parent.conditions
        )
        return {
            (backend.namespace or self.metadata.namespace, backend.name)
            for rule in self.spec.rules
            for backend in rule.backend_refs
            if accepted and not backend.group and backend.kind == "Service"
        }


class HTTPRoute(Route):
    resource: ClassVar[Resource] = Resource(_GROUP, "v1", "HTTPRoute", "httproutes", True)


class GRPCRoute(Route):
    resource: ClassVar[Resource] = Resource(_GROUP, "v1", "GRPCRoute", "grpcroutes", True)


KINDS: Final[tuple[type[Route], ...]] = (HTTPRoute, GRPCRoute)


def ways_to(routes: Iterable[Route]) -> dict[str, dict[str, list[str]]]:
    """By namespace and Service, the routes that lead there, in words."""
    found: dict[str, dict[str, list[str]]] = {}
    for route in routes:
        for namespace, name in route.services():
            place = "" if namespace == route.metadata.namespace else f" of {route.metadata.namespace}"
            way = f"{route.resource.kind} {route.metadata.name}{place}"
            found.setdefault(namespace, {}).setdefault(name, []).append(way)
    return found


class GatewayRoutes:
    """`changed` is called with a namespace whose Services may be reached otherwise than before."""

    def __init__(self, changed: Callable[[str], None]) -> None:
        self._changed = changed
        self._held: dict[type[Route], Informer[Any]] = {}
        self._ways: Mapping[str, Mapping[str, list[str]]] = {}

    def of(self, namespace: str) -> Mapping[str, list[str]]:
        """The ways to each Service of a namespace."""
        return self._ways.get(namespace, {})

    def follow(self, informers: SharedInformers) -> None:
        """Follows the definitions of the kinds, and their objects while they are served."""

        def defined(key: str, old: CustomResourceDefinition | None, new: CustomResourceDefinition | None) -> None:
            for kind in KINDS:
                if key == f"{kind.resource.plural}.{kind.resource.group}":
                    self._hold(informers, kind, new)

        informers.of(CustomResourceDefinition).subscribe(defined)

    def _hold(self, informers: SharedInformers, kind: type[Route], definition: CustomResourceDefinition | None) -> None:
        version = kind.resource.version
        served = (
            definition is not None
            and definition.has("Established")
            and any(found.name == version and found.served for found in definition.spec.versions)
        )
        if served and kind not in self._held:
            self._held[kind] = informers.of(kind)
            self._held[kind].subscribe(self._route_changed)
        elif not served and kind in self._held:
            before = set(self._ways)
            del self._held[kind]
            informers.drop(kind)
            self._count(before)

    def _route_changed(self, key: str, old: Route | None, new: Route | None) -> None:
        before, now = (route.services() if route is not None else set() for route in (old, new))
        if before != now:
            self._count({namespace for namespace, _ in before | now})

    def _count(self, namespaces: Iterable[str]) -> None:
        self._ways = ways_to(route for informer in self._held.values() for route in informer)
        for namespace in namespaces:
            self._changed(namespace)
