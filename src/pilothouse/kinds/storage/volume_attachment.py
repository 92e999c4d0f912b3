"""VolumeAttachment."""

from __future__ import annotations

from typing import ClassVar

from pilothouse.kinds.columns import AGE, NAME, Column, field
from pilothouse.kinds.kind import Kind
from pilothouse.kinds.view import Object
from pilothouse.machinery.objects import Resource


class VolumeAttachment(Object):
    resource: ClassVar[Resource] = Resource("storage.k8s.io", "v1", "VolumeAttachment", "volumeattachments", False)


KIND = Kind(
    view=VolumeAttachment,
    subresources=frozenset({"status"}),
    columns=(
        NAME,
        Column("Attacher", field("spec", "attacher"), "Driver that attaches.", format="name"),
        Column("PV", field("spec", "source", "persistentVolumeName"), "Volume to attach."),
        Column("Node", field("spec", "nodeName"), "Node to attach it to."),
        Column("Attached", field("status", "attached", default=False), "Whether it is attached.", type="boolean"),
        AGE,
    ),
    returns_deleted=True,
)
