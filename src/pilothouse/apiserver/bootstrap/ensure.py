"""Makes sure that the cluster holds what it must, at every start and while it runs: reads all of it, writes only what
differs."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterable, Iterator
from typing import NamedTuple

import orjson

from pilothouse.apiserver.bootstrap import component_roles, user_roles
from pilothouse.apiserver.bootstrap.differences import binding_patch, field_patch, role_patch
from pilothouse.apiserver.bootstrap.flow_control import (
    mandatory_levels,
    mandatory_patch,
    mandatory_schemas,
    suggested_levels,
    suggested_patch,
    suggested_schemas,
)
from pilothouse.apiserver.bootstrap.objects import (
    NAMESPACES,
    Cluster,
    cluster_info,
    extension_authentication,
    ingress_class,
    kubernetes_endpoints,
    kubernetes_legacy_endpoints,
    kubernetes_service,
    priority_classes,
    service_cidr,
    storage_class,
)
from pilothouse.apiserver.chain import ObjectReader
from pilothouse.client.client import Client
from pilothouse.kinds.core.config_map import ConfigMap
from pilothouse.kinds.core.endpoints import Endpoints
from pilothouse.kinds.core.namespace import Namespace
from pilothouse.kinds.core.service import Service
from pilothouse.kinds.discovery.endpoint_slice import EndpointSlice
from pilothouse.kinds.flowcontrol.flow_schema import FlowSchema
from pilothouse.kinds.flowcontrol.priority_level_configuration import PriorityLevelConfiguration
from pilothouse.kinds.networking.ingress_class import IngressClass
from pilothouse.kinds.networking.service_cidr import ServiceCIDR
from pilothouse.kinds.rbac.role import ClusterRole, Role
from pilothouse.kinds.rbac.role_binding import ClusterRoleBinding, RoleBinding
from pilothouse.kinds.scheduling.priority_class import PriorityClass
from pilothouse.kinds.storage.storage_class import StorageClass
from pilothouse.machinery.errors import AlreadyExists, ApiError
from pilothouse.machinery.objects import Obj, Resource

log = logging.getLogger(__name__)
_KEEP_SECONDS = 60.0

Difference = Callable[[Obj, Obj], Obj]
"""From the current object and the wanted one to a merge patch, empty when there is nothing to do."""


class _Wanted(NamedTuple):
    resource: Resource
    tree: Obj
    difference: Difference


async def ensure(objects: ObjectReader, client: Client, cluster: Cluster) -> int:
    """Creates what is missing and mends what differs; returns how many objects were written.

    `client` must be one of group system:masters: before the first run there are no roles. Raises ApiError.
    """
    namespaces = await _apply(objects, client, _namespaces())
    return namespaces + await _apply(objects, client, _everything_else(cluster))


async def keep(objects: ObjectReader, client: Client, cluster: Cluster) -> None:
    """Puts back, until cancelled, what upstream's server keeps while it runs: its namespaces, the objects of flow
    control, and how the API itself is reached."""
    while True:
        await asyncio.sleep(_KEEP_SECONDS)
        try:
            await keep_once(objects, client, cluster)
        except ApiError as error:
            log.warning("what the cluster must hold is not put right: %s", error.message)


async def keep_once(objects: ObjectReader, client: Client, cluster: Cluster) -> int:
    """As `keep`, once; returns how many objects were written. Raises ApiError."""
    namespaces = await _apply(objects, client, _namespaces())
    return namespaces + await _apply(objects, client, _kept(cluster))


def _leave(current: Obj, wanted: Obj) -> Obj:
    """For objects that are their users' once they exist."""
    return {}


def _namespaces() -> Iterator[_Wanted]:
    for name in NAMESPACES:
        yield _Wanted(Namespace.resource, {"metadata": {"name": name}}, _leave)


def _everything_else(cluster: Cluster) -> Iterator[_Wanted]:
    for tables in (user_roles, component_roles):
        yield from (_Wanted(ClusterRole.resource, tree, role_patch) for tree in tables.CLUSTER_ROLES)
        yield from (_Wanted(ClusterRoleBinding.resource, tree, binding_patch) for tree in tables.CLUSTER_ROLE_BINDINGS)
    yield from (_Wanted(Role.resource, tree, role_patch) for tree in component_roles.ROLES)
    yield from (_Wanted(RoleBinding.resource, tree, binding_patch) for tree in component_roles.ROLE_BINDINGS)
    yield from (_Wanted(PriorityClass.resource, tree, _leave) for tree in priority_classes())
    yield _Wanted(StorageClass.resource, storage_class(), _leave)
    yield _Wanted(IngressClass.resource, ingress_class(), _leave)
    yield _Wanted(ConfigMap.resource, cluster_info(cluster), field_patch)
    yield _Wanted(ConfigMap.resource, extension_authentication(cluster), field_patch)
    yield from _kept(cluster)


def _kept(cluster: Cluster) -> Iterator[_Wanted]:
    for levels, schemas, difference in (
        (mandatory_levels(), mandatory_schemas(), mandatory_patch),
        (suggested_levels(), suggested_schemas(), suggested_patch),
    ):
        yield from (_Wanted(PriorityLevelConfiguration.resource, tree, difference) for tree in levels)
        yield from (_Wanted(FlowSchema.resource, tree, difference) for tree in schemas)
    # A range that differs from the configured one stays: Services have addresses of it.
    yield _Wanted(ServiceCIDR.resource, service_cidr(cluster), _leave)
    # Its address cannot change once given, and its ports lead where the endpoints say.
    yield _Wanted(Service.resource, kubernetes_service(cluster), _leave)
    yield _Wanted(EndpointSlice.resource, kubernetes_endpoints(cluster), field_patch)
    yield _Wanted(Endpoints.resource, kubernetes_legacy_endpoints(cluster), field_patch)


async def _apply(objects: ObjectReader, client: Client, wanted: Iterable[_Wanted]) -> int:
    """Writes all differences at once, so that the store commits them together."""
    writes = [write for entry in wanted if (write := _write(objects, client, entry)) is not None]
    results = await asyncio.gather(*writes, return_exceptions=True)
    for result in results:
        if isinstance(result, BaseException) and not isinstance(result, AlreadyExists):
            raise result
    return len(writes)


def _write(objects: ObjectReader, client: Client, wanted: _Wanted) -> asyncio.Future[object] | None:
    resource, meta = wanted.resource, wanted.tree["metadata"]
    namespace, name = meta.get("namespace", ""), meta["name"]
    current = objects.get(resource, namespace, name)
    if current is None:
        return asyncio.ensure_future(client.create_tree(resource, wanted.tree, namespace or None))
    patch = wanted.difference(current, wanted.tree)
    if not patch:
        return None
    return asyncio.ensure_future(_patch(client, resource, namespace, name, patch))


async def _patch(client: Client, resource: Resource, namespace: str, name: str, patch: Obj) -> None:
    path = resource.path(namespace or None, name)
    try:
        await client.request("PATCH", path, body=orjson.dumps(patch), content_type="application/merge-patch+json")
    except ApiError as error:
        error.message = f"cannot mend {resource.kind} {namespace}/{name}: {error.message}"
        raise
