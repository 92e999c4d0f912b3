"""Secret."""

from __future__ import annotations

from typing import ClassVar

from pilothouse.kinds.view import Object
from pilothouse.machinery.objects import Resource


class Secret(Object):
    """`data` values are base64 as in the API; `string_data` is write-only."""

    resource: ClassVar[Resource] = Resource("", "v1", "Secret", "secrets", True)

    type: str = "Opaque"
    data: dict[str, str] = {}
    string_data: dict[str, str] = {}
    immutable: bool | None = None
