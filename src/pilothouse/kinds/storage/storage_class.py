"""StorageClass."""

from __future__ import annotations

from typing import ClassVar

from pilothouse.kinds.view import Object, View
from pilothouse.machinery.objects import Resource


class TopologySelectorLabelRequirement(View):
    key: str = ""
    values: list[str] = []


class TopologySelectorTerm(View):
    match_label_expressions: list[TopologySelectorLabelRequirement] = []


class StorageClass(Object):
    resource: ClassVar[Resource] = Resource("storage.k8s.io", "v1", "StorageClass", "storageclasses", False)

    provisioner: str = ""
    parameters: dict[str, str] = {}
    reclaim_policy: str | None = None
    mount_options: list[str] = []
    allow_volume_expansion: bool | None = None
    volume_binding_mode: str | None = None
    allowed_topologies: list[TopologySelectorTerm] = []
