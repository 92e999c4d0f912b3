"""The Gateway API's objects, watched once their kinds are defined, and their status."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from pilothouse.client.client import Client
from pilothouse.client.informer import Informer
from pilothouse.client.shared import SharedInformers
from pilothouse.ingress.gateway.plan import CONTROLLER, GatewayPlan, World, gateway_plan
from pilothouse.ingress.gateway.status import class_status, gateway_status, route_status
from pilothouse.ingress.gateway.views import KINDS, Gateway, GatewayClass, HTTPRoute, ReferenceGrant
from pilothouse.kinds.apiextensions.definition import CustomResourceDefinition
from pilothouse.kinds.core.namespace import Namespace
from pilothouse.kinds.core.service import Service
from pilothouse.kinds.view import Object
from pilothouse.machinery.errors import Conflict, NotFound
from pilothouse.machinery.objects import Obj


class Gateways:
    """`wake` is called when something changed that a plan depends on."""

    def __init__(self, client: Client, informers: SharedInformers, address: str, wake: Callable[[], None]) -> None:
        self._client = client
        self._informers = informers
        self._address = address
        self._wake = wake
        self._held: dict[type[Object], Informer[Any]] = {}

    async def watch(self) -> None:
        """Follows the definitions of the kinds, and their objects while they are served."""
        definitions = self._informers.of(CustomResourceDefinition)
        await definitions.synced()
        definitions.subscribe(self._defined)

    def _defined(self, key: str, old: CustomResourceDefinition | None, new: CustomResourceDefinition | None) -> None:
        for cls in KINDS:
            if key != f"{cls.resource.plural}.{cls.resource.group}":
                continue
            served = new is not None and new.has("Established") and _serves(new, cls.resource.version)
            if served and cls not in self._held:
                informer = self._held[cls] = self._informers.of(cls)
                informer.subscribe(lambda key, old, new: self._wake())
            elif not served and cls in self._held:
                del self._held[cls]
                self._informers.drop(cls)
            self._wake()

    async def plan(self, services: Mapping[str, Service], taken: Callable[[int, bool], str]) -> GatewayPlan:
        """The plan for what there is; an empty one while the kinds are not defined."""
        needed = (GatewayClass, Gateway, HTTPRoute)
        if not all(cls in self._held and self._held[cls].has_synced for cls in needed) or not self._ours():
            return GatewayPlan()
        namespaces = self._informers.of(Namespace)
        await namespaces.synced()
        return gateway_plan(
            World(
                classes=list(self._held[GatewayClass]),
                gateways=list(self._held[Gateway]),
                routes=list(self._held[HTTPRoute]),
                grants=list(self._held.get(ReferenceGrant, ())),
                services=services,
                labels={found.name: found.metadata.labels for found in namespaces},
                taken=taken,
            )
        )

    def _ours(self) -> list[GatewayClass]:
        found: list[GatewayClass] = list(self._held[GatewayClass])
        return [each for each in found if each.spec.controller_name == CONTROLLER]

    async def tell(self, plan: GatewayPlan, failure: str) -> None:
        """Writes what became of each object; `failure` is why nothing is served. Raises ApiError."""
        if GatewayClass not in self._held:
            return
        for found in self._ours():
            await self._write(found, class_status(found))
        for key, listeners in plan.listeners.items():
            gateway: Gateway | None = self._held[Gateway].get(key)
            if gateway is not None:
                await self._write(gateway, gateway_status(gateway, listeners, self._address, failure))
        for route in list(self._held.get(HTTPRoute, ())):
            parents = plan.parents.get(route.key, [])
            if parents or any(parent.controller_name == CONTROLLER for parent in route.status.parents):
                await self._write(route, route_status(route, parents))

    async def _write(self, found: Object, status: Obj | None) -> None:
        if status is None:
            return
        patch = {"metadata": {"uid": found.metadata.uid}, "status": status}
        try:
            await self._client.patch(type(found), found.name, found.namespace or None, patch, subresource="status")
        except (NotFound, Conflict):
            return


def _serves(definition: CustomResourceDefinition, version: str) -> bool:
    return any(found.name == version and found.served for found in definition.spec.versions)
