"""The Gateway API's objects, watched once their kinds are defined, and their status."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from pilothouse.client.client import Client
from pilothouse.client.shared import SharedInformers
from pilothouse.ingress.gateway.plan import CONTROLLER, GatewayPlan, World, gateway_plan
from pilothouse.ingress.gateway.status import class_status, gateway_status, route_status
from pilothouse.ingress.gateway.views import KINDS, Gateway, GatewayClass, HTTPRoute, ReferenceGrant
from pilothouse.kinds.core.namespace import Namespace
from pilothouse.kinds.core.service import Service
from pilothouse.kinds.view import Object
from pilothouse.machinery.errors import Conflict, NotFound
from pilothouse.machinery.objects import Obj
from pilothouse.reconcile.defined_kinds import DefinedKinds


class Gateways:
    """`wake` is called when something changed that a plan depends on."""

    def __init__(self, client: Client, informers: SharedInformers, address: str, wake: Callable[[], None]) -> None:
        self._client = client
        self._informers = informers
        self._address = address
        self._kinds = DefinedKinds(informers, KINDS, wake)

    async def watch(self) -> None:
        """Follows the definitions of the kinds, and their objects while they are served."""
        await self._kinds.watch()

    async def plan(self, services: Mapping[str, Service], taken: Callable[[int, bool], str]) -> GatewayPlan:
        """The plan for what there is; an empty one while the kinds are not defined."""
        if not self._kinds.have(GatewayClass, Gateway, HTTPRoute) or not self._ours():
            return GatewayPlan()
        namespaces = self._informers.of(Namespace)
        await namespaces.synced()
        return gateway_plan(
            World(
                classes=self._kinds.all(GatewayClass),
                gateways=self._kinds.all(Gateway),
                routes=self._kinds.all(HTTPRoute),
                grants=self._kinds.all(ReferenceGrant),
                services=services,
                labels={found.name: found.metadata.labels for found in namespaces},
                taken=taken,
            )
        )

    def _ours(self) -> list[GatewayClass]:
        return [each for each in self._kinds.all(GatewayClass) if each.spec.controller_name == CONTROLLER]

    async def tell(self, plan: GatewayPlan, failure: str) -> None:
        """Writes what became of each object; `failure` is why nothing is served. Raises ApiError."""
        if not self._kinds.serves(GatewayClass):
            return
        for found in self._ours():
            await self._write(found, class_status(found))
        for key, listeners in plan.listeners.items():
            gateway = self._kinds.get(Gateway, key)
            if gateway is not None:
                await self._write(gateway, gateway_status(gateway, listeners, self._address, failure))
        for route in self._kinds.all(HTTPRoute):
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
