"""Views that hold no more than an object's metadata, for controllers that look at objects of every kind."""

from __future__ import annotations

from functools import cache
from typing import Any

from pilothouse.client.informer import Informer
from pilothouse.client.shared import SharedInformers
from pilothouse.kinds.view import Object
from pilothouse.machinery.objects import Resource

NOT_COLLECTED = frozenset({("", "events"), ("coordination.k8s.io", "leases")})
"""Kinds too busy to be watched for owners they practically never have."""


@cache
def metadata_view(resource: Resource) -> type[Object]:
    """A view of that resource with nothing but metadata."""
    return type(f"{resource.kind}Metadata", (Object,), {"resource": resource})


class MetadataInformers:
    """Informers over resources of many kinds; where a component holds fuller objects already, those are used."""

    def __init__(self, informers: SharedInformers, resources: list[Resource]) -> None:
        self._by_resource: dict[Resource, Informer[Any]] = {
            resource: informers.holding(resource) or informers.of(metadata_view(resource)) for resource in resources
        }

    def items(self) -> list[tuple[Resource, Informer[Any]]]:
        return list(self._by_resource.items())

    async def synced(self) -> None:
        for informer in self._by_resource.values():
            await informer.synced()
