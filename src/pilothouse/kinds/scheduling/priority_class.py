"""PriorityClass."""

from __future__ import annotations

from typing import ClassVar

from pilothouse.kinds.view import Object
from pilothouse.machinery.objects import Resource


class PriorityClass(Object):
    resource: ClassVar[Resource] = Resource("scheduling.k8s.io", "v1", "PriorityClass", "priorityclasses", False)

    value: int = 0
    global_default: bool = False
    description: str = ""
    preemption_policy: str | None = None
