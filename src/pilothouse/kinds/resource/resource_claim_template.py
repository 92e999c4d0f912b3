"""ResourceClaimTemplate."""

from __future__ import annotations

from typing import ClassVar

from pilothouse.kinds.kind import Kind
from pilothouse.kinds.view import Object
from pilothouse.machinery.objects import Resource


class ResourceClaimTemplate(Object):
    resource: ClassVar[Resource] = Resource(
        "resource.k8s.io", "v1", "ResourceClaimTemplate", "resourceclaimtemplates", True
    )


KIND = Kind(view=ResourceClaimTemplate, returns_deleted=True)
