"""DeviceClass."""

from __future__ import annotations

from typing import ClassVar

from pilothouse.kinds.kind import Kind
from pilothouse.kinds.view import Object
from pilothouse.machinery.objects import Resource


class DeviceClass(Object):
    resource: ClassVar[Resource] = Resource("resource.k8s.io", "v1", "DeviceClass", "deviceclasses", False)


KIND = Kind(
    view=DeviceClass,
    generation_fields=("spec",),
    returns_deleted=True,
)
