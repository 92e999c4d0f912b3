"""RuntimeClass."""

from __future__ import annotations

from typing import ClassVar

from pilothouse.kinds.core.pod_spec import Toleration
from pilothouse.kinds.view import Object, View
from pilothouse.machinery.objects import Resource


class Overhead(View):
    pod_fixed: dict[str, str] = {}


class Scheduling(View):
    node_selector: dict[str, str] = {}
    tolerations: list[Toleration] = []


class RuntimeClass(Object):
    resource: ClassVar[Resource] = Resource("node.k8s.io", "v1", "RuntimeClass", "runtimeclasses", False)

    handler: str = ""
    overhead: Overhead | None = None
    scheduling: Scheduling | None = None
