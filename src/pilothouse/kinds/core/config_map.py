"""ConfigMap."""

from __future__ import annotations

from typing import ClassVar

from pilothouse.kinds.view import Object
from pilothouse.machinery.objects import Resource


class ConfigMap(Object):
    """`binary_data` values are base64 as in the API."""

    resource: ClassVar[Resource] = Resource("", "v1", "ConfigMap", "configmaps", True)

    data: dict[str, str] = {}
    binary_data: dict[str, str] = {}
    immutable: bool | None = None
